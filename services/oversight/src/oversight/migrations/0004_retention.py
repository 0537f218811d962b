"""The role that may erase bodies of entries, and nothing else."""

from messaging.migrate import run_sql

revision = "oversight_0004"
down_revision = "oversight_0003"


def upgrade() -> None:
    run_sql(__file__)
