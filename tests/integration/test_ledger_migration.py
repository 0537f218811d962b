"""What was on record before there was a ledger is its beginning, in the same order."""

from alembic import command
from tests.support.stack import Infra, query

from ledger.entry import LedgerEntry, flaw_of, leaf_of
from messaging.migrate import _config, migrate

BEFORE = """
    INSERT INTO record (source, id, type, topic, part, position, digest, subject, attributes, data)
    SELECT '/rapport/intake', n::text, 't', 'intake.events.v1', 0, n, 'keyed', 'e-1',
           CASE WHEN n % 2 = 0 THEN '{"id":  "it stays as it is"}'::json END, CASE WHEN n % 2 = 0 THEN '{}'::bytea END
      FROM generate_series(1, 2500) AS n RETURNING 1"""
ENTRIES = f"SELECT {', '.join(LedgerEntry._fields)}, leaf, index FROM entry ORDER BY index"


def test_what_was_on_record_is_in_the_ledger(infra: Infra) -> None:
    database = infra.database()
    config = _config(database.owner_dsn, "messaging")
    command.upgrade(config, "head")
    command.upgrade(_config(database.owner_dsn, "oversight"), "oversight_0002")
    query(database.owner_dsn, BEFORE.replace("'keyed'", "sha256('keyed')"))
    migrate(database.owner_dsn, "oversight")
    rows = query(database.owner_dsn, ENTRIES)
    entries = [LedgerEntry(*row[:-2]) for row in rows]
    assert [row["index"] for row in rows] == list(range(2500))
    assert [entry.position for entry in entries] == list(range(1, 2501))
    assert [leaf_of(entry) for entry in entries] == [row["leaf"] for row in rows]
    assert not any(map(flaw_of, entries))
    assert [entry.attributes for entry in entries[:2]] == [None, '{"id":  "it stays as it is"}']
