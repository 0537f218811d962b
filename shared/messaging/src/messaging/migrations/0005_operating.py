"""What a person needs to see and to act on what is set aside, and topics that are stopped."""

from messaging.migrate import run_sql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_sql(__file__)
