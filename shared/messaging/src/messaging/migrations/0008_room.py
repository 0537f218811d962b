"""Half of each page of states is left free for their next versions."""

from messaging.migrate import run_sql

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run_sql(__file__)
