"""What `rapport parked` asks of the services: over HTTP, never of their tables."""
