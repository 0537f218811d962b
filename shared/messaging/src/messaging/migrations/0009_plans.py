"""The hot way finds its rows through indexes, however small the tables were when it was planned."""

from messaging.migrate import run_sql

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    run_sql(__file__)
