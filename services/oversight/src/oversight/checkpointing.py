"""Grows the tree over what was recorded, and signs it: a checkpoint every 1,000 entries, and twice a second.

Invariants: nothing is signed that does not extend what was signed before; the tree, its subtrees and its checkpoints change in
one statement, so that of two processes that sign one does nothing; what was signed reaches topic and folder at least once.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import cast

import structlog
from aiokafka import AIOKafkaProducer
from prometheus_client import Gauge

from contracts.topics import CHECKPOINTS
from ledger.checkpoints import Checkpoint, CheckpointError, open_checkpoint, sign_checkpoint
from ledger.notes import NoteError, Signer
from ledger.proofs import ProofError, Span, frontier_at, frontier_spans
from ledger.tree import EMPTY, Frontier, Node
from messaging.service import Service
from oversight import ledger_store as store
from oversight.ledger_store import Reach
from oversight.outside import Outside

log = structlog.get_logger()
LEAVES_PER_CHECKPOINT, _AT_ONCE, _REST = 1000, 50_000, 0.5


class LedgerError(Exception):
    """The ledger in the database is not what was signed; nothing more is signed until a person has looked."""


class Checkpoints:
    """One turn grows and signs; the first key signs in the log's name, others beside it while keys are exchanged."""

    def __init__(
        self, service: Service, signers: Sequence[Signer], outside: Outside | None, producer: Callable[[], AIOKafkaProducer]
    ) -> None:
        self._service, self._signers, self._outside = service, signers, outside
        service.at_stop.append(self.close)
        self._verifiers, self._origin = [signer.verifier for signer in signers], signers[0].name
        self._new_producer, self._producer = producer, cast("AIOKafkaProducer | None", None)
        self._told, self._nothing = "", Checkpoint(self._origin, 0, EMPTY)
        registry = service.meters.registry
        self._size = Gauge("ledger_size", "entries under the newest checkpoint", registry=registry)
        self._wrong = Gauge("ledger_wrong", "1 when the ledger is not what was signed", registry=registry)

    async def turn_and_rest(self) -> None:
        """No rest while another checkpoint's worth of entries waits."""
        if await self.turn() < LEAVES_PER_CHECKPOINT:
            await asyncio.sleep(_REST)

    async def turn(self) -> int:
        """How many entries came meanwhile.

        Raises LedgerError when what is there does not extend what was signed, and what database and broker raise.
        """
        try:
            # What lies outside is read first: it never is ahead of what is read after it.
            there = self._open(self._outside.checkpoint) if self._outside else self._nothing
            reach = await store.reach(self._service.pool)
            signed = await self._grow(reach, there)
            await self._tell(signed or [reach.note or ""])
            waiting = await self._anchor()
            self._wrong.set(0)
            return waiting
        except (LedgerError, NoteError, CheckpointError, ProofError, ValueError) as error:
            self._wrong.set(1)
            log.error("ledger_wrong", kind=type(error).__name__, reason=str(error))
            raise

    async def _grow(self, reach: Reach, there: Checkpoint) -> list[str]:
        """What was signed now."""
        pool, tree = self._service.pool, reach.tree
        if reach.appended == tree.size:
            return []
        newest = self._open(reach.note)
        if (newest.size, newest.root) != (tree.size, tree.root):
            raise LedgerError(f"the frontier of {tree.size} entries is not that of the checkpoint of {newest.size}")
        await self._extends(there, tree)
        leaves = await store.leaves(pool, tree.size, min(reach.appended, tree.size + _AT_ONCE))
        if len(leaves) != min(reach.appended - tree.size, _AT_ONCE):
            raise LedgerError(f"of {reach.appended} entries some after {tree.size} are missing")
        grown, completed, notes = self._signed(tree, leaves)
        return list(notes.values()) if await store.grow(pool, tree.size, grown, completed, notes) else []

    def _signed(self, tree: Frontier, leaves: Sequence[bytes]) -> tuple[Frontier, list[Node], dict[int, str]]:
        completed, notes = list[Node](), dict[int, str]()
        for start in range(0, len(leaves), LEAVES_PER_CHECKPOINT):
            tree, nodes = tree.extended(leaves[start : start + LEAVES_PER_CHECKPOINT])
            completed += nodes
            notes[tree.size] = sign_checkpoint(Checkpoint(self._origin, tree.size, tree.root), *self._signers)
        self._size.set(tree.size)
        return tree, completed, notes

    async def _extends(self, signed: Checkpoint, tree: Frontier) -> None:
        """The first entries are those that were signed; what the database keeps of that may have been rolled back."""
        root, size = tree.root, min(signed.size, tree.size)
        if size < tree.size:
            root = frontier_at(size, await store.hashes(self._service.pool, frontier_spans(size))).root
        if signed.size > tree.size or root != signed.root:
            raise LedgerError(f"the ledger has {tree.size} entries and does not extend the {signed.size} signed outside")

    def _open(self, note: str | None) -> Checkpoint:
        return open_checkpoint(note, self._verifiers).checkpoint if note else self._nothing

    async def _tell(self, notes: Sequence[str]) -> None:
        """On the topic; the newest is said again after a start, since nobody knows whether it was said."""
        if notes[-1] in ("", self._told):
            return
        try:
            if self._producer is None:
                self._producer = self._new_producer()
                await self._producer.start()
            sent = [await self._producer.send(CHECKPOINTS, note.encode(), self._origin.encode()) for note in notes]
            await asyncio.gather(*sent)
            self._told = notes[-1]
        except BaseException:
            await self.close()
            raise

    async def _anchor(self) -> int:
        """Into the folder outside, from the checkpoint that lies there; how many entries are not signed yet."""
        if self._outside is None:
            appended, tree, _ = await store.reach(self._service.pool)
            return appended - tree.size
        with self._outside.in_hand() as ours:
            there, (appended, tree, note) = self._outside.checkpoint, await store.reach(self._service.pool)
            if ours and note != there:
                await self._extends(self._open(there), tree)
                await self._outside.extend(self._open(there).size, tree.size, note or "", self._hashes)
        return appended - tree.size

    async def _hashes(self, span: Span) -> list[bytes]:
        return list((await store.hashes(self._service.pool, [span])).values())

    async def close(self) -> None:
        """The next word begins with a new producer."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await asyncio.shield(producer.stop())
