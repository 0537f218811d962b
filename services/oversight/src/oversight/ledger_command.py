"""`python -m oversight ledger WORD`: verify, prove, erase …, read from the database itself, beside the running service."""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import asyncpg

from ledger import evidence
from ledger.checkpoints import Checkpoint, CheckpointError, open_checkpoint
from ledger.entry import LedgerEntry, printable
from ledger.evidence import EvidenceError
from ledger.notes import NoteError, Verifier
from ledger.proofs import ProofError
from messaging.service import Service
from oversight import proving, proving_store, reporting
from oversight.app import build, connected
from oversight.erasing import erase
from oversight.outside import OutsideView
from oversight.proving import NotProvable
from oversight.reading import read_by
from oversight.settings import Settings
from oversight.tampering import DEMONSTRATED, Unsuitable, tamper
from oversight.verifying import verify

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
    words = parser.add_subparsers(required=True, metavar="verify | prove | consistency | erase | tamper")
    checking = words.add_parser("verify", help="hold the ledger against what was signed, and against what sources claim")
    checking.add_argument("--since", type=Path, help="a file with a checkpoint that somebody kept: it must be continued")
    checking.add_argument("--handoff", help="only the events of this handoff, or one event")
    checking.add_argument("--outside", type=Path, help="folder with checkpoint and tiles; default: OVERSIGHT_CHECKPOINT_DIR")
    checking.set_defaults(act=_verify)
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
    for each in (checking, prove, consistency):
        _add_key(each)
    erasing = words.add_parser("erase", help="erase bodies that need not be kept any longer; their entries stay")
    erasing.add_argument("--before", type=_day, required=True, help="what was recorded before this day, such as 2026-11-23")
    erasing.add_argument("--reason", default="retention", help="why, as a code; it is recorded")
    erasing.add_argument("--actor", default="operator", help="who does it; it is recorded")
    erasing.set_defaults(act=_erase)
    spoiling = words.add_parser("tamper", help="spoil the ledger of a demonstration, for good")
    spoiling.add_argument("--kind", choices=sorted(DEMONSTRATED), required=True, help="what is done")
    spoiling.add_argument("--seed", type=int, default=1, help="the same does the same to the same ledger")
    spoiling.add_argument("--demo-data", action="store_true", help="this is invented data, and may be spoilt")
    spoiling.set_defaults(act=_tamper)
    return parser


def _day(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _add_key(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--key", action="append", default=[], help="a public key beside the service's, such as a former one")


async def _verify(settings: Settings, asked: argparse.Namespace) -> int:
    known, folder = _verifiers(settings, asked.key), asked.outside or settings.checkpoint_dir
    since = _open(_read(asked.since), known, asked.since) if asked.since else None
    if asked.handoff:
        async with _opened(settings) as service:
            return _told(await reporting.on_some(service.pool, asked.handoff, known))
    connection = await connected(settings.postgres_dsn)
    try:
        outside, say = OutsideView(folder) if folder else None, _tell if sys.stderr.isatty() else lambda _: None
        return _told(await reporting.on_all(connection, await verify(connection, known, outside, since, say)))
    finally:
        await connection.close()


def _told(found: reporting.Said) -> int:
    good, said = found
    print("\n".join(map(printable, said)))
    return 0 if good else 1


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


async def _erase(settings: Settings, asked: argparse.Namespace) -> int:
    return await erase(settings, asked.before, asked.actor, asked.reason, _tell)


async def _tamper(settings: Settings, asked: argparse.Namespace) -> int:
    if not asked.demo_data or settings.owner_dsn is None:
        raise CannotSay("only the ledger of a demonstration is spoilt: with --demo-data, and OVERSIGHT_OWNER_DSN set")
    connection = await connected(settings.owner_dsn)
    try:
        print(printable(await tamper(connection, asked.kind, asked.seed)))
    except Unsuitable as error:
        raise CannotSay(f"this cannot be done to this ledger: {error}") from None
    finally:
        await connection.close()
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
