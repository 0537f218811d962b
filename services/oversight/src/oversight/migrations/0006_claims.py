"""Failed claims are found without reading all that wait."""

from messaging.migrate import run_sql

revision = "oversight_0006"
down_revision = "oversight_0005"


def upgrade() -> None:
    run_sql(__file__)
