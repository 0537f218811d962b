"""A write tells where in the outbox its batch stands, so that the relay of the same process need not read it back."""

from messaging.migrate import run_sql

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    run_sql(__file__)
