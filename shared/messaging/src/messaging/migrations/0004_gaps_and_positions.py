"""What was heard of each subject, how much was said in all, and what may be forgotten."""

from messaging.migrate import run_sql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run_sql(__file__)
