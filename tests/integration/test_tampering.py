"""Whoever owns the database, and has all but the signing key and the folder outside, is found; a weaker check finds less."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from bench.tamper import Tally, trial
from tests.support.kept import keep
from tests.support.ledger import entry
from tests.support.stack import FreshDatabase, Infra

from ledger.checkpoints import Checkpoint
from ledger.notes import Verifier, generate
from messaging.migrate import migrate
from oversight import verifying, walking
from oversight.outside import OutsideView
from oversight.tampering import DEMONSTRATED, Unsuitable, tamper
from oversight.verifying import Verdict, verify

SIGNER = generate("rapport.test/ledger")


@pytest.fixture(scope="module")
def database(infra: Infra) -> FreshDatabase:
    fresh = infra.database()
    migrate(fresh.owner_dsn, "oversight")
    return fresh


@pytest.fixture
def on(database: FreshDatabase) -> Callable[[Callable[[Any], Awaitable[Any]]], Any]:
    """Runs something on a connection of the owner."""

    async def run(act: Callable[[Any], Awaitable[Any]]) -> Any:
        connection = await asyncpg.connect(database.owner_dsn)
        try:
            return await act(connection)
        finally:
            await connection.close()

    return lambda act: asyncio.run(run(act))


def test_300_random_tamperings_are_found_where_they_are(on: Any, tmp_path: Path) -> None:
    tally: Tally = on(lambda connection: trial(connection, tmp_path, 300, 7, print))
    assert tally.missed == []
    assert tally.found.total() == 300


async def _without_the_folder(
    connection: Any, keys: list[Verifier], outside: OutsideView | None, since: Checkpoint | None
) -> Verdict:
    return await verify(connection, keys, None, since)


def test_without_the_leaves_outside_the_entry_cannot_be_named_and_a_roll_back_not_be_seen(on: Any, tmp_path: Path) -> None:
    tally: Tally = on(lambda connection: trial(connection, tmp_path, 104, 8, print, _without_the_folder))
    assert tally.found["roll back"] < tally.tried["roll back"]
    assert tally.found["flip, every hash anew"] < tally.tried["flip, every hash anew"]


WEAKER = {
    "table subtree": (f"{verifying.__name__}._compare_subtrees", lambda *_: None),
    "table frontier": (f"{verifying.__name__}._compare_frontier", lambda *_: None),
    "flip": (f"{walking.__name__}.flaw_of", lambda _: None),
    "erase": (f"{walking.__name__}.Walk.finish_erased", lambda *_: None),
}


@pytest.mark.parametrize(("kind", "weaker"), WEAKER.items(), ids=WEAKER)
def test_a_check_that_leaves_something_out_misses_what_it_is_for(
    on: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, weaker: tuple[str, Any]
) -> None:
    monkeypatch.setattr(*weaker)
    tally: Tally = on(lambda connection: trial(connection, tmp_path, 156, 9, print))
    assert tally.found[kind] < tally.tried[kind]
    assert all(each.startswith(kind) for each in tally.missed)


@pytest.mark.parametrize("kind", DEMONSTRATED)
def test_what_a_demonstration_does_is_named_and_found(on: Any, tmp_path: Path, kind: str) -> None:
    async def act(connection: Any) -> None:
        for seed in range(4):
            await keep(connection, tmp_path / str(seed), list(map(entry, range(700))), (300, 600), SIGNER)
            said = await tamper(connection, kind, seed)
            verdict = await verify(connection, [SIGNER.verifier], OutsideView(tmp_path / str(seed)))
            assert str(verdict.first_bad) in said

    on(act)


def test_nothing_is_done_to_a_ledger_of_which_nothing_is_signed(on: Any) -> None:
    async def act(connection: Any) -> None:
        await connection.execute("TRUNCATE entry, subtree, checkpoint")
        with pytest.raises(Unsuitable):
            await tamper(connection, "flip", 1)

    on(act)
