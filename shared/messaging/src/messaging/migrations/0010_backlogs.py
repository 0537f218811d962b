"""What waits in large numbers costs what is looked at, not what is there: lanes, timers that may not fire yet, old claims."""

from messaging.migrate import run_sql

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    run_sql(__file__)
