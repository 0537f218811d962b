"""Pure rules of matching. Read: `listing` (who needs, who offers), `places`, `directory` (filter, rank), `match` (state)."""
