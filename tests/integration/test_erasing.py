"""Bodies are erased by the retention role alone, after the ledger says so; the entries and the root stay as they were."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from tests.support.ledger import entry
from tests.support.stack import FreshDatabase, Infra

from contracts.oversight import ContentErased
from contracts.topics import OVERSIGHT
from ledger.entry import LedgerEntry, digest_of, leaf_of
from messaging.migrate import migrate
from oversight import erasing, store
from oversight.app import build, retaining
from oversight.settings import Settings

OLD = datetime(2026, 11, 23, 10, tzinfo=UTC)
NEW = entry(999)._replace(recorded_at=OLD + timedelta(hours=1))


@pytest.fixture
def database(infra: Infra) -> FreshDatabase:
    fresh = infra.database()
    migrate(fresh.owner_dsn, "oversight")
    return fresh


@pytest.fixture
def settings(infra: Infra, database: FreshDatabase) -> Settings:
    return Settings.model_validate(
        {
            "postgres_dsn": database.runtime_dsn, "retention_dsn": database.retention_dsn, "kafka_bootstrap": infra.bootstrap,
            "secret_key": "only-for-this-test", "retention": "1",
        }
    )  # fmt: skip


async def recording(pool: Any) -> None:
    """What relay and recorder do: what oversight said comes into the ledger."""
    while not (rows := await pool.fetch("SELECT value FROM messaging.outbox WHERE headers LIKE $1", f"%{ContentErased.type}%")):
        await asyncio.sleep(0.05)
    salt, data = bytes(16), bytes(rows[0]["value"])
    body: Any = {"digest": digest_of(salt, "{}", data), "salt": salt, "attributes": "{}", "data": data}
    said = entry(2000)._replace(type=ContentErased.type, topic=OVERSIGHT, **body)
    await store.write(pool, [said])
    await pool.execute("UPDATE frontier SET size = appended")


async def erased(settings: Settings, before: datetime, with_recorder: bool = True) -> tuple[int | None, list[str], list[Any]]:
    service = build(settings)
    await service.open()
    lines: list[str] = []
    try:
        await store.write(service.pool, [*map(entry, range(30)), NEW])
        recorder = [recording(service.pool)] if with_recorder else []
        erasure = erasing.erase(settings, before, "ops-17", "retention", lines.append)
        code, *_ = await asyncio.gather(erasure, *recorder)
        found = await service.pool.fetch(f"SELECT leaf, {', '.join(LedgerEntry._fields)} FROM entry ORDER BY index")
        return code, lines, [(row[0], LedgerEntry._make(row[1:])) for row in found]
    finally:
        await service.pool.close()


def test_old_bodies_go_and_their_leaves_stay(settings: Settings) -> None:
    code, lines, rows = asyncio.run(erased(settings, OLD))
    assert code == 0
    assert lines[-1] == "20 bodies were erased; their entries stay"
    assert [leaf_of(each) for _, each in rows] == [leaf for leaf, _ in rows]
    assert [each.data is None for _, each in rows[:30]] == [True] * 30
    assert rows[30][1] == NEW, "what is younger stays"
    assert rows[31][1].data is not None, "and so does what says so"


def test_what_is_not_in_the_ledger_yet_erases_nothing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasing, "_WAIT", timedelta(seconds=0.2))
    code, lines, rows = asyncio.run(erased(settings, OLD, with_recorder=False))
    assert code == 1
    assert "nothing is erased" in lines[-1]
    assert sum(each.data is None for _, each in rows) == 10, "of inbound records there never was one"


def test_bodies_that_must_still_be_kept_are_not_erased(settings: Settings) -> None:
    kept = settings.model_copy(update={"retention": timedelta(days=2192)})
    code, lines, _ = asyncio.run(erased(kept, OLD, with_recorder=False))
    assert code == 2
    assert "OVERSIGHT_RETENTION" in lines[0]


@pytest.mark.parametrize(
    "statement", ["UPDATE entry SET leaf = ''", "DELETE FROM entry", "INSERT INTO checkpoint VALUES (1, '')"]
)
def test_the_retention_role_may_do_nothing_else(database: FreshDatabase, statement: str) -> None:
    async def act() -> None:
        async with retaining(database.retention_dsn) as pool:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await pool.execute(statement)

    asyncio.run(act())
