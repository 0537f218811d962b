"""What is signed extends what was signed, reaches the folder outside, and nothing is signed over a ledger that was changed."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer
from tests.support.kept import EMPTY
from tests.support.ledger import entry
from tests.support.stack import FreshDatabase, Infra

from contracts.topics import CHECKPOINTS
from ledger.checkpoints import open_checkpoint
from ledger.entry import LedgerEntry
from ledger.notes import generate
from ledger.tree import root_of
from messaging.migrate import migrate
from oversight import app, ledger_store, store
from oversight.checkpointing import Checkpoints, LedgerError
from oversight.outside import Outside
from oversight.settings import Settings

SIGNER = generate("rapport.test/ledger")


class World:
    """A service's parts on an empty ledger, and the folder outside; the owner may do what nobody should."""

    def __init__(self, service: Any, folder: Path, owner: asyncpg.Connection) -> None:
        self.service, self.pool, self.folder, self.owner = service, service.pool, folder, owner
        self.checkpoints = self.another()

    def another(self) -> Checkpoints:
        """As a second process has it."""
        registry = self.service.meters.registry
        for collector in [c for c in list(registry._collector_to_names) if getattr(c, "_name", "").startswith("ledger_")]:
            registry.unregister(collector)
        producer = partial(AIOKafkaProducer, bootstrap_servers=self.service.settings.kafka_bootstrap)
        return Checkpoints(self.service, [SIGNER], Outside(self.folder), producer)

    async def record(self, numbers: range) -> list[LedgerEntry]:
        entries = [entry(n) for n in numbers]
        await store.write(self.pool, entries)
        return entries

    def lying_outside(self) -> Any:
        return open_checkpoint((self.folder / "checkpoint").read_text(), [SIGNER.verifier]).checkpoint


@pytest.fixture(scope="module")
def database(infra: Infra) -> FreshDatabase:
    fresh = infra.database()
    migrate(fresh.owner_dsn, "oversight")
    infra.topics([CHECKPOINTS], partitions=1, prefix="")
    return fresh


@pytest.fixture
def on(infra: Infra, database: FreshDatabase, tmp_path: Path) -> Callable[[Callable[[World], Awaitable[Any]]], Any]:
    """Runs something in a world of its own."""
    settings = Settings(postgres_dsn=database.runtime_dsn, kafka_bootstrap=infra.bootstrap, secret_key="k" * 16)

    async def run(act: Callable[[World], Awaitable[Any]]) -> Any:
        owner = await asyncpg.connect(database.owner_dsn)
        await owner.execute(EMPTY)
        service = app.build(settings)
        await service.open()
        world = World(service, tmp_path / "outside", owner)
        try:
            return await act(world)
        finally:
            await world.checkpoints.close()
            await service.pool.close()
            await owner.close()

    return lambda act: asyncio.run(run(act))


def test_the_tree_over_2500_entries_is_signed_every_1000_and_laid_outside_with_its_leaves(on: Any) -> None:
    async def act(world: World) -> None:
        await world.record(range(2500))
        await world.checkpoints.turn()
        notes = await ledger_store.kept_checkpoints(world.pool)
        signed = [open_checkpoint(note, [SIGNER.verifier]).checkpoint for _, note in notes]
        leaves = await ledger_store.leaves(world.pool, 0, 2500)
        assert [(c.size, c.root) for c in signed] == [(n, root_of(leaves[:n])) for n in (1000, 2000, 2500)]
        assert world.lying_outside() == signed[-1]
        tiles = sorted(str(path.relative_to(world.folder)) for path in world.folder.rglob("tile/**/*") if path.is_file())
        assert tiles == [*(f"tile/0/{n:03}" for n in range(9)), "tile/0/009.p/196", "tile/1/000.p/9"]
        assert b"".join((world.folder / each).read_bytes() for each in tiles[:10]) == b"".join(leaves)

    on(act)


def test_it_goes_on_where_it_was_and_smaller_versions_of_a_tile_go(on: Any) -> None:
    async def act(world: World) -> None:
        for numbers in (range(100), range(100, 256), range(256, 300)):
            await world.record(numbers)
            await world.checkpoints.turn()
        tiles = sorted(str(path.relative_to(world.folder)) for path in world.folder.rglob("tile/**/*") if path.is_file())
        assert tiles == ["tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1"]
        assert world.lying_outside().root == root_of(await ledger_store.leaves(world.pool, 0, 300))

    on(act)


def test_two_processes_sign_one_tree(on: Any) -> None:
    async def act(world: World) -> None:
        other = world.another()
        for numbers in (range(1500), range(1500, 1700), range(1700, 4000)):
            await world.record(numbers)
            await asyncio.gather(world.checkpoints.turn(), other.turn(), world.checkpoints.turn(), other.turn())
        await other.close()
        assert world.lying_outside().root == root_of(await ledger_store.leaves(world.pool, 0, 4000))

    on(act)


TAMPERINGS = {
    "the frontier": "UPDATE frontier SET nodes = array_replace(nodes, nodes[1], sha256('x'))",
    "a rolled back tail": """
        DELETE FROM entry WHERE index >= 1000; DELETE FROM subtree WHERE (index + 1) << level > 1000;
        DELETE FROM checkpoint WHERE size > 1000;
        UPDATE frontier SET appended = 1000, size = 1000, nodes = (SELECT nodes FROM before)""",
    "a leaf among those that are not signed yet": "DELETE FROM entry WHERE index = 1501",
}


@pytest.mark.parametrize("sql", TAMPERINGS.values(), ids=TAMPERINGS)
def test_over_a_ledger_that_is_not_what_was_signed_nothing_is_signed(on: Any, sql: str) -> None:
    async def act(world: World) -> None:
        await world.record(range(1000))
        await world.checkpoints.turn()
        await world.owner.execute("CREATE TEMP TABLE before AS SELECT nodes FROM frontier")
        await world.record(range(1000, 1500))
        await world.checkpoints.turn()
        outside = world.lying_outside()
        await world.record(range(1500, 1600))
        await world.owner.execute(sql)
        await world.record(range(1600, 1700))
        before = await ledger_store.kept_checkpoints(world.pool)
        with pytest.raises(LedgerError):
            await world.another().turn()
        assert await ledger_store.kept_checkpoints(world.pool) == before
        assert world.lying_outside() == outside
        assert world.service.meters.registry.get_sample_value("ledger_wrong") == 1

    on(act)
