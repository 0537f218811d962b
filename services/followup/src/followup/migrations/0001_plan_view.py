"""A view of the plans."""

from messaging.migrate import run_sql

revision = "followup_0001"
down_revision = None


def upgrade() -> None:
    run_sql(__file__)
