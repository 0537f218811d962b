"""What sources say they have said, held against the record."""

from messaging.migrate import run_sql

revision = "oversight_0002"
down_revision = "oversight_0001"


def upgrade() -> None:
    run_sql(__file__)
