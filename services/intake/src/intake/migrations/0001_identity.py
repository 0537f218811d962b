"""The identity store."""

from messaging.migrate import run_sql

revision = "intake_0001"
down_revision = None


def upgrade() -> None:
    run_sql(__file__)
