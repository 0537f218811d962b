"""`python -m oversight ledger verify | prove | consistency`: read from the database itself, beside the running service."""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from ledger import evidence
from ledger.checkpoints import Checkpoint, CheckpointError, open_checkpoint
from ledger.entry import LedgerEntry
from ledger.evidence import EvidenceError
from ledger.notes import NoteError, Verifier
from ledger.proofs import ProofError
from messaging.service import Service
from oversight import proving, proving_store
from oversight.app import build
from oversight.proving import NotProvable
from oversight.reading import read_by
from oversight.settings import Settings

_TELL_EVERY = 1.0
_DAMAGED = (ProofError, EvidenceError, ValueError, OverflowError, asyncpg.DataError)
_AWAY = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)


class CannotSay(Exception):
    """What was asked could not be looked at; exit code 2."""


def main(settings: Settings, arguments: Sequence[str]) -> int:
    """0: it is so. 1: it is not, and the first bad entry is named. 2: it could not be looked at."""
    asked = _parser().parse_args(arguments)
    act: Callable[[Settings, argparse.Namespace], Awaitable[int]] = asked.act
    try:
        return asyncio.run(_within_reach(act(settings, asked)))
    except (CannotSay, NotProvable) as error:
        _tell(str(error))
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m oversight ledger", description=__doc__)
    words = parser.add_subparsers(required=True, metavar="verify | prove | consistency")
    prove = words.add_parser("prove", help="print the proof that an event, or all of a handoff, is in the ledger")
    prove.add_argument("what", help="the id of a handoff, or of an event")
    under = prove.add_mutually_exclusive_group()
    under.add_argument("--at-size", type=int, help="under the checkpoint of so many entries; default: the newest")
    under.add_argument("--checkpoint", type=Path, help="under this one, such as what a witness keeps")
    prove.add_argument("--actor", default="operator", help="who reads; it is recorded")
    prove.add_argument("--purpose", default="evidence", help="what for; it is recorded")
    prove.set_defaults(act=_prove)
    consistency = words.add_parser("consistency", help="print the proof that the newest checkpoint continues an older one")
    consistency.add_argument("old", type=Path, help="a file with the older one")
    consistency.set_defaults(act=_consistency)
    for each in (prove, consistency):
        _add_key(each)
    return parser


def _add_key(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--key", action="append", default=[], help="a public key beside the service's, such as a former one")


async def _prove(settings: Settings, asked: argparse.Namespace) -> int:
    known = _verifiers(settings, asked.key)
    async with _opened(settings) as service:
        places = await proving.places(service.pool, asked.what)
        if asked.checkpoint:
            note = _read(asked.checkpoint)
            _open(note, known, asked.checkpoint)
        else:
            ready = proving.covering(service.pool, places[-1]) if asked.at_size is None else None
            note = await (ready or proving.at_size(service.pool, asked.at_size))
        document = await proving.inclusion(service.pool, places, note)
        evidence.check(document, known)
        await _said_who_reads(service, await proving_store.entries(service.pool, places), asked)
    sys.stdout.write(document)
    return 0


async def _consistency(settings: Settings, asked: argparse.Namespace) -> int:
    known, old = _verifiers(settings, asked.key), _read(asked.old)
    _open(old, known, asked.old)
    async with _opened(settings) as service:
        document = await proving.consistency(service.pool, old)
    evidence.check(document, known)
    sys.stdout.write(document)
    return 0


async def _said_who_reads(service: Service, entries: Sequence[tuple[int, LedgerEntry]], asked: argparse.Namespace) -> None:
    """Once per episode whose events are shown, before they are."""
    for episode in sorted({entry.subject for _, entry in entries if entry.subject and entry.data is not None}):
        shown = sum(entry.subject == episode for _, entry in entries)
        answering = asyncio.create_task(service.door.turn())
        try:
            await read_by(service, episode, asked.actor, asked.purpose, shown)
        finally:
            answering.cancel()
            await asyncio.wait([answering])


async def _within_reach(act: Awaitable[int]) -> int:
    """What the ledger cannot prove is its fault; that nobody answers is not."""
    try:
        return await act
    except _DAMAGED as error:
        _tell(f"the ledger does not prove it: {error}; run verify")
        return 1
    except _AWAY as error:
        raise CannotSay(f"the database cannot be read: {type(error).__name__}: {error}") from None


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Service]:
    service = build(settings)
    await service.open()
    try:
        yield service
    finally:
        await service.pool.close()


def _verifiers(settings: Settings, more: Sequence[str]) -> list[Verifier]:
    """Of the keys that sign now, and of others that are given."""
    try:
        known = [signer.verifier for signer in settings.signers] + [Verifier.parse(text) for text in more]
    except NoteError as error:
        raise CannotSay(f"a key cannot be read: {error}") from None
    if not known:
        raise CannotSay("set OVERSIGHT_SIGNING_KEY_FILE or OVERSIGHT_SIGNING_KEY, or give a public key with --key")
    return list(dict.fromkeys(known))


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except (OSError, ValueError) as error:
        raise CannotSay(f"{path} cannot be read: {error}") from None


def _open(note: str, known: Sequence[Verifier], path: Path) -> Checkpoint:
    try:
        return open_checkpoint(note, known).checkpoint
    except (NoteError, CheckpointError) as error:
        raise CannotSay(f"{path} is no checkpoint of this ledger: {error}") from None


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
