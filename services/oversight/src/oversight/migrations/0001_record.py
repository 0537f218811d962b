"""The table of everything that was said."""

from messaging.migrate import run_sql

revision = "oversight_0001"
down_revision = None


def upgrade() -> None:
    run_sql(__file__)
