"""Pure rules of intake. Read: `consent` (who may know what), `urgency` (who is asked first), `episode` (the state)."""
