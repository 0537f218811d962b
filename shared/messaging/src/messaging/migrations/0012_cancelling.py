"""What a batch costs that cancels timers does not grow with the timers there are or were."""

from messaging.migrate import run_sql

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    run_sql(__file__)
