"""Seats, their counters, and the function that carries out effects on them."""

from messaging.migrate import run_sql

revision = "matching_0001"
down_revision = None


def upgrade() -> None:
    run_sql(__file__)
