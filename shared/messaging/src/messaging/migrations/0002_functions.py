"""The kit's functions: the one read and the one write of a batch."""

from messaging.migrate import run_sql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_sql(__file__)
