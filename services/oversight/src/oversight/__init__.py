"""Oversight records every event once and shows operations the flow; read `consumer`, `entries`, `store`, then `api`."""
