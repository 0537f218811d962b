"""Three ways to move the same events: with the kit, on bare clients, and the common way; each is a process of its own."""
