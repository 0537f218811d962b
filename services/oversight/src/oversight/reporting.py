"""What `ledger verify` says: of the whole ledger with its reconciliation, or of one handoff; the first bad entry by name."""

from collections.abc import Sequence
from typing import Any

from ledger import evidence
from ledger.entry import LedgerEntry
from ledger.evidence import EvidenceError
from ledger.notes import NoteError, Verifier
from ledger.proofs import ProofError
from oversight import proving, proving_store, store
from oversight.proving import NotProvable
from oversight.verifying import Verdict, lines

Said = tuple[bool, list[str]]


async def on_all(connection: Any, verdict: Verdict) -> Said:
    """Whether all is good, and what a person reads; the last line says it in two words."""
    failures = await store.failures(connection)
    good = verdict.good and not failures
    said = [*lines(verdict)[:-1], *[_reconciled(row) for row in await store.reconciled(connection)]]
    said += [_failure(row) for row in failures]
    if verdict.first_bad is not None:
        found = dict(await proving_store.entries(connection, [verdict.first_bad]))
        said.append(f"first bad    {_named(verdict.first_bad, found)}")
    return good, [*said, "all good" if good else "NOT GOOD"]


async def on_some(pool: Any, what: str, known: Sequence[Verifier]) -> Said:
    """The same of the events of a handoff, each proven by itself under the newest checkpoint."""
    indexes = await proving.places(pool, what)
    note = await proving_store.note(pool)
    if note is None:
        raise NotProvable("nothing is signed yet")
    size = proving.checkpoint_of(note).size
    found, said, good = dict(await proving_store.entries(pool, indexes)), list[str](), True
    for index in indexes:
        try:
            if index < size:
                evidence.check(await proving.inclusion(pool, [index], note), known)
            said.append(f"{'proven' if index < size else 'not signed yet':14} {_named(index, found)}")
        except (EvidenceError, ProofError, NoteError, ValueError) as error:
            said.append(f"{'WRONG':14} {_named(index, found)}: {error}")
            good = False
    return good, [f"under the checkpoint of {size:,} entries:", *said, "all good" if good else "NOT GOOD"]


def _named(index: int, found: dict[int, LedgerEntry]) -> str:
    """An entry as somebody looks for it elsewhere."""
    entry = found.get(index)
    if entry is None:
        return f"entry {index}: it is missing"
    place = f"{entry.topic}/{entry.part}/{entry.position}"
    return f"entry {index}: source {entry.source}, id {entry.id}, type {entry.type}, at {place}"


def _reconciled(row: dict[str, Any]) -> str:
    return f"reconciled   {row['source']}: {row['events']:,} events, as it said until {row['until']:%Y-%m-%d %H:%M:%S}Z"


def _failure(row: dict[str, Any]) -> str:
    claimed = f"{row['claimed']:,} events up to {row['last_id']}"
    return f"WRONG        {row['source']}, partition {row['partition']}: {row['problem']}; it said {claimed}"
