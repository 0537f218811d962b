"""Appending finds what is recorded already through its index, however small the ledger was when it was planned."""

from messaging.migrate import run_sql

revision = "oversight_0005"
down_revision = "oversight_0004"


def upgrade() -> None:
    run_sql(__file__)
