"""The whole ledger against what was signed: all good when nothing was touched, and else the first entry that is wrong."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.support.kept import keep
from tests.support.ledger import entry
from tests.support.stack import FreshDatabase, Infra

from contracts.oversight import ContentErased
from ledger.checkpoints import Checkpoint, open_checkpoint
from ledger.entry import digest_of, leaf_of
from ledger.notes import generate
from messaging.migrate import migrate
from oversight.outside import OutsideView
from oversight.verifying import Verdict, lines, verify

SIGNER = generate("rapport.test/ledger")
KEYS = [SIGNER.verifier]
COUNT, SIZES = 2600, (700, 1700, 2500)


@pytest.fixture(scope="module")
def database(infra: Infra) -> FreshDatabase:
    fresh = infra.database()
    migrate(fresh.owner_dsn, "oversight")
    return fresh


@pytest.fixture
def on(database: FreshDatabase, tmp_path: Path) -> Callable[[Callable[[Any, OutsideView, list[str]], Awaitable[Any]]], Any]:
    """Runs something on a ledger of 2,600 entries, of which 2,500 are signed."""

    async def run(act: Any) -> Any:
        connection = await asyncpg.connect(database.owner_dsn)
        try:
            notes = await keep(connection, tmp_path / "outside", list(map(entry, range(COUNT))), SIZES, SIGNER)
            return await act(connection, OutsideView(tmp_path / "outside"), notes)
        finally:
            await connection.close()

    return lambda act: asyncio.run(run(act))


def test_a_ledger_that_nobody_touched_is_all_good(on: Any) -> None:
    async def act(connection: Any, outside: OutsideView, notes: list[str]) -> None:
        since = open_checkpoint(notes[0], KEYS).checkpoint
        newest = open_checkpoint(notes[-1], KEYS).checkpoint
        assert await verify(connection, KEYS, outside, since) == Verdict(
            2500, newest.root, 3, [SIGNER.name], 100, [], 2500
        )  # fmt: skip
        assert (await verify(connection, KEYS, None)).good
        assert lines(await verify(connection, KEYS, outside))[-1] == "all good"

    on(act)


WRONG = {
    "a body": ("UPDATE entry SET data = 'x' WHERE index = 901", "entry", 901),
    "what is hashed": ("UPDATE entry SET type = 'u' WHERE index = 0", "entry", 0),
    "a leaf": ("UPDATE entry SET leaf = sha256('x') WHERE index = 2499", "entry", 2499),
    "a body that is gone": ("UPDATE entry SET salt = NULL, attributes = NULL, data = NULL WHERE index = 30", "entry", 30),
    "a body of which a part is gone": ("UPDATE entry SET salt = NULL WHERE index = 30", "entry", 30),
    "a time that nobody can read": ("UPDATE entry SET recorded_at = '20000-01-01' WHERE index = 31", "entry", 31),
    "an unsigned entry": ("UPDATE entry SET type = 'u' WHERE index = 2550", "entry", 2550),
    "one is missing": ("DELETE FROM entry WHERE index = 1300", "missing", 1300),
    "the tail is missing": ("DELETE FROM entry WHERE index >= 77", "missing", 77),
    "all are missing": ("DELETE FROM entry", "missing", 0),
    "one has a place that is none": ("UPDATE entry SET index = -5 WHERE index = 1300", "missing", 1300),
    "one has a place far off": ("UPDATE entry SET index = index + (1 << 20) WHERE index = 1300", "missing", 1300),
    "a subtree": ("UPDATE subtree SET hash = sha256('x') WHERE index = 3", "subtree", None),
    "a subtree that is gone": ("DELETE FROM subtree WHERE index = 3", "subtree", None),
    "a subtree too many": ("INSERT INTO subtree VALUES (16, 0, sha256('x'))", "subtree", None),
    "a subtree where none can be": ("INSERT INTO subtree VALUES (2000000000, 0, sha256('x'))", "subtree", None),
    "the frontier's hashes": ("UPDATE frontier SET nodes = array_replace(nodes, nodes[1], sha256('x'))", "frontier", None),
    "the frontier's bounds": ("UPDATE frontier SET nodes = ('[0:4]=' || nodes::text)::bytea[]", "frontier", None),
    "the frontier's size": ("UPDATE frontier SET size = 2501", "frontier", None),
    "the frontier's end": ("UPDATE frontier SET appended = 2599", "frontier", None),
    "no frontier": ("DELETE FROM frontier", "frontier", None),
    "a checkpoint's place": ("UPDATE checkpoint SET size = 701 WHERE size = 700", "checkpoint", None),
    "a checkpoint's root": ("UPDATE checkpoint SET note = translate(note, 'abc', 'bca') WHERE size = 700", "checkpoint", None),
    "the newest checkpoint": ("DELETE FROM checkpoint WHERE size = 2500", "checkpoint", None),
}  # fmt: skip


@pytest.mark.parametrize(("sql", "kind", "index"), WRONG.values(), ids=WRONG)
def test_the_first_entry_that_is_wrong_is_named_and_so_is_every_other_table(
    on: Any, sql: str, kind: str, index: int | None
) -> None:
    async def act(connection: Any, outside: OutsideView, _: list[str]) -> None:
        await connection.execute(sql)
        verdict = await verify(connection, KEYS, outside)
        assert kind in {flaw.kind for flaw in verdict.flaws}
        assert verdict.first_bad == index
        assert lines(verdict)[-1].startswith("not good")

    on(act)


@pytest.mark.parametrize(("place", "good"), [(40, True), (2550, False)], ids=["signed", "not signed yet"])
def test_a_body_may_be_gone_when_a_signed_entry_says_that_it_was_erased(on: Any, place: int, good: bool) -> None:
    said = ContentErased(operator="ops-17", reason="retention", first=24, stop=31).model_dump_json().encode()
    salt = bytes(16)
    body: Any = {"digest": digest_of(salt, "{}", said), "salt": salt, "attributes": "{}", "data": said}
    entries = list(map(entry, range(COUNT)))
    entries[place] = entries[40]._replace(type=ContentErased.type, id="erasure", **body)

    async def act(connection: Any, outside: OutsideView, _: list[str]) -> None:
        await keep(connection, outside._folder, entries, SIZES, SIGNER)
        await connection.execute(WRONG["a body that is gone"][0])
        verdict = await verify(connection, KEYS, OutsideView(outside._folder))
        assert (verdict.good, verdict.first_bad) == (good, None if good else 30)

    on(act)


FORGED = "UPDATE entry SET digest = $1, salt = NULL, attributes = NULL, data = NULL, source = 'x', leaf = $2 WHERE index = 1002"


def test_an_entry_changed_with_its_hashes_is_named_by_the_leaves_outside_and_else_narrowed_down(on: Any) -> None:
    async def act(connection: Any, outside: OutsideView, _: list[str]) -> None:
        forged = entry(1002)._replace(digest=b"x" * 32, salt=None, attributes=None, data=None, source="x")
        await connection.execute(FORGED, forged.digest, leaf_of(forged))
        verdict = await verify(connection, KEYS, outside)
        assert [(flaw.kind, flaw.index) for flaw in verdict.flaws] == [("entry", 1002)]
        alone = await verify(connection, KEYS, None)
        assert alone.first_bad is None
        assert "from entry 700 to 1699" in alone.flaws[0].text

    on(act)


def test_a_reader_who_holds_another_checkpoint_is_told(on: Any) -> None:
    async def act(connection: Any, outside: OutsideView, notes: list[str]) -> None:
        held = open_checkpoint(notes[0], KEYS).checkpoint
        other = Checkpoint(held.origin, 1000, held.root)
        assert [flaw.kind for flaw in (await verify(connection, KEYS, outside, other)).flaws] == ["since"]
        longer = Checkpoint(held.origin, 3000, held.root)
        assert (await verify(connection, KEYS, None, longer)).first_bad == COUNT

    on(act)


def test_leaves_outside_that_do_not_lead_to_the_signed_root_are_not_believed(on: Any) -> None:
    async def act(connection: Any, outside: OutsideView, _: list[str]) -> None:
        tile = outside._folder / "tile/0/001"
        tile.write_bytes(bytes(32) + tile.read_bytes()[32:])
        verdict = await verify(connection, KEYS, outside)
        assert [(flaw.kind, flaw.index) for flaw in verdict.flaws] == [("outside", None)]

    on(act)


def test_it_sees_what_the_transaction_sees_that_it_is_called_in(on: Any) -> None:
    async def act(connection: Any, outside: OutsideView, _: list[str]) -> None:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("DELETE FROM entry WHERE index = 5")
        assert (await verify(connection, KEYS, outside)).first_bad == 5
        await transaction.rollback()
        assert (await verify(connection, KEYS, outside)).good

    on(act)
