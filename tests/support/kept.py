"""A ledger in PostgreSQL with its folder outside, without the service: what the owner of both makes of a list of entries."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import asyncpg
from tests.support.stack import FreshDatabase

from ledger.checkpoints import Checkpoint, sign_checkpoint
from ledger.entry import LedgerEntry, leaf_of
from ledger.notes import Signer
from ledger.proofs import Span
from ledger.tree import Frontier
from oversight import ledger_store, store
from oversight.outside import Outside

EMPTY = "TRUNCATE entry, subtree, checkpoint, frontier; INSERT INTO frontier DEFAULT VALUES"


async def keep(
    connection: Any, folder: Path, entries: Sequence[LedgerEntry], sizes: Sequence[int], signer: Signer
) -> list[str]:
    """An empty ledger gets these entries, and a checkpoint at each of these sizes; the last one lies outside. All notes."""
    await connection.execute(EMPTY)
    if entries:
        await store.write(connection, entries)
    leaves, tree, nodes, notes = list(map(leaf_of, entries)), Frontier(), [], dict[int, str]()
    for size in sizes:
        tree, completed = tree.extended(leaves[tree.size : size])
        nodes += completed
        notes[size] = sign_checkpoint(Checkpoint(signer.name, size, tree.root), signer)
    await ledger_store.grow(connection, 0, tree, nodes, notes)

    async def read(span: Span) -> list[bytes]:
        return list((await ledger_store.hashes(connection, [span])).values())

    await Outside(folder).extend(0, tree.size, list(notes.values())[-1], read)
    return list(notes.values())


def on_empty_ledger(database: FreshDatabase) -> Callable[[Callable[[Any], Awaitable[Any]]], Any]:
    """Runs something on a pool of the runtime role, each time on a ledger without entries."""

    async def run(act: Callable[[Any], Awaitable[Any]]) -> Any:
        owner = await asyncpg.connect(database.owner_dsn)
        await owner.execute(EMPTY)
        await owner.close()
        async with asyncpg.create_pool(database.runtime_dsn, min_size=1, max_size=2) as pool:
            return await act(pool)

    return lambda act: asyncio.run(run(act))
