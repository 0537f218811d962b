"""Evidence out of the database: entries with their way to a signed root, and the way from one signed root to a later one."""

import asyncio
from collections.abc import Sequence
from typing import Any

from ledger.checkpoints import Checkpoint
from ledger.evidence import EvidenceError, Included, consistency_document, inclusion_document
from ledger.notes import parse
from ledger.proofs import consistency_proof, consistency_spans, inclusion_proof, inclusion_spans
from oversight import ledger_store, proving_store

_SIGNED_WITHIN, _LOOK_EVERY = 5.0, 0.1


class NotProvable(Exception):
    """The ledger has nothing to prove it with, or not yet; the message says what to do."""


def checkpoint_of(note: str) -> Checkpoint:
    """What a note says, whoever signed it; NoteError or CheckpointError when it is no checkpoint."""
    return Checkpoint.parse(parse(note)[0])


async def places(pool: Any, what: str) -> list[int]:
    """Where all events of a handoff are, or one event; NotProvable when there is none."""
    found = await ledger_store.places(pool, what)
    if not found:
        raise NotProvable(f"nothing in the ledger has the id {what}: give the id of a handoff or of an event")
    return found


async def covering(pool: Any, index: int) -> str:
    """The newest checkpoint, as soon as it covers this entry; NotProvable when it does not in a few seconds."""
    for _ in range(round(_SIGNED_WITHIN / _LOOK_EVERY)):
        note = await proving_store.note(pool)
        if note and checkpoint_of(note).size > index:
            return note
        await asyncio.sleep(_LOOK_EVERY)
    raise NotProvable(f"entry {index} is not signed yet: oversight signs twice a second while it runs and has a key")


async def at_size(pool: Any, size: int) -> str:
    """The checkpoint of so many entries; NotProvable when none was signed at that size."""
    note = await proving_store.note(pool, size)
    if note is None:
        raise NotProvable(f"no checkpoint of {size} entries was signed; leave the size out for the newest")
    return note


async def inclusion(pool: Any, indexes: Sequence[int], note: str) -> str:
    """The document that proves these entries under a checkpoint; EvidenceError or ProofError when some of it is missing."""
    size = checkpoint_of(note).size
    if beyond := [index for index in indexes if index >= size]:
        raise NotProvable(f"entry {beyond[0]} is not under the checkpoint of {size} entries")
    spans = {span for index in indexes for span in inclusion_spans(index, size)}
    hashes, entries = await asyncio.gather(ledger_store.hashes(pool, spans), proving_store.entries(pool, indexes))
    found = dict(entries)
    if missing := [index for index in indexes if index not in found]:
        raise EvidenceError(f"entry {missing[0]} is missing")
    included = [Included(index, found[index], inclusion_proof(index, size, hashes)) for index in indexes]
    return inclusion_document(note, included)


async def consistency_path(pool: Any, old: int, new: int) -> list[bytes]:
    """The hashes that lead from the tree of `old` entries to that of `new`; ProofError when there is no such way."""
    return consistency_proof(old, new, await ledger_store.hashes(pool, consistency_spans(old, new)))


async def consistency(pool: Any, old: str) -> str:
    """The document that proves that the newest checkpoint continues this one; EvidenceError when it is smaller."""
    new = await proving_store.note(pool)
    if new is None:
        raise NotProvable("nothing is signed yet")
    first, last = checkpoint_of(old).size, checkpoint_of(new).size
    if first > last:
        raise EvidenceError(f"the ledger has {last} signed entries, the checkpoint {first}: it was rolled back, or is another")
    return consistency_document(old, new, await consistency_path(pool, first, last))
