"""Oversight records every event once and shows operations the flow.

Read `consumer`, `entries`, `store`, then `api`; for custody `views`, then `custody_store`.
"""
