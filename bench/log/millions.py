"""Proofs out of a ledger of millions of leaves, made as the service makes them; entries have little more than a leaf."""

import asyncio
import json
from base64 import b64decode
from hashlib import sha256
from random import Random
from time import perf_counter
from typing import Any

import asyncpg

from ledger.checkpoints import Checkpoint, sign_checkpoint
from ledger.notes import Signer
from ledger.proofs import verify_inclusion
from ledger.tree import Frontier, Node
from oversight import proving

_AT_ONCE = 250_000

# What no proof is read from only takes time here.
BARE = """
    ALTER TABLE entry DROP CONSTRAINT entry_source_id_key;
    DROP INDEX entry_by_place, entry_of_episode, entry_of_handoffs, entry_of_erasures;
    ALTER TABLE entry SET UNLOGGED; ALTER TABLE subtree SET UNLOGGED"""
FILL = """
    INSERT INTO entry (index, source, id, type, topic, part, position, recorded_at, digest, leaf)
    SELECT n, 's', '', 't', 't', 0, n, '2026-11-23 09:00:00+00', sha256(''), sha256(int8send(n))
      FROM generate_series($1::bigint, $2::bigint - 1) AS n"""
TREE = "INSERT INTO subtree SELECT * FROM unnest($1::int[], $2::bigint[], $3::bytea[])"


async def inclusion_ms(owner_dsn: str, leaves: int, proofs: int, signer: Signer) -> dict[str, Any]:
    """Fills an empty ledger and takes quantiles over proofs of random entries, every one of them verified."""
    async with asyncpg.create_pool(owner_dsn, min_size=1, max_size=2, command_timeout=600) as pool:
        note, root = await _fill(pool, leaves, signer)
        rng, took = Random(1), list[float]()
        for _ in range(proofs):
            index = rng.randrange(leaves)
            began = perf_counter()
            document = await proving.inclusion(pool, [index], note)
            took.append((perf_counter() - began) * 1000)
            path = [b64decode(each) for each in json.loads(document)["entries"][0]["path"]]
            verify_inclusion(_leaf(index), index, leaves, path, root)
    took.sort()
    return {
        "inclusion_leaves": leaves,
        "inclusion_ms": round(took[int(0.99 * proofs)], 2),
        "inclusion_p50_ms": round(took[proofs // 2], 2),
    }


async def _fill(pool: Any, leaves: int, signer: Signer) -> tuple[str, bytes]:
    await pool.execute(BARE)
    tree, began = Frontier(), perf_counter()
    while tree.size < leaves:
        start, stop = tree.size, min(tree.size + _AT_ONCE, leaves)
        (tree, nodes), _ = await asyncio.gather(asyncio.to_thread(_grown, tree, start, stop), pool.execute(FILL, start, stop))
        await pool.execute(TREE, *map(list, zip(*nodes, strict=True)))
        if stop % 2_000_000 < _AT_ONCE:
            print(f"  {stop:,} leaves, {perf_counter() - began:.0f} s", flush=True)
    await pool.execute("VACUUM ANALYZE entry")
    return sign_checkpoint(Checkpoint(signer.name, tree.size, tree.root), signer), tree.root


def _grown(tree: Frontier, start: int, stop: int) -> tuple[Frontier, list[Node]]:
    return tree.extended(list(map(_leaf, range(start, stop))))


def _leaf(number: int) -> bytes:
    """As FILL makes it."""
    return sha256(number.to_bytes(8)).digest()
