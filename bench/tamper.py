"""10,000 random tamperings by somebody who has all but the signing key and the folder outside; prints found / tried per kind.

Logs of random size, with checkpoints at random sizes, lie in a real PostgreSQL. Every tampering has to be found, and at the
right entry: the first that is wrong or missing. Exits 1 when one is not.
"""

import argparse
import asyncio
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import asyncpg
from tests.support.kept import keep

from cli.stack import Stack
from cli.stack.databases import Database
from contracts.topics import INBOUND, OWNED
from ledger.checkpoints import Checkpoint, open_checkpoint
from ledger.entry import LedgerEntry, digest_of
from ledger.notes import Signer, Verifier
from messaging.migrate import migrate
from oversight.outside import OutsideView
from oversight.tampering import KINDS, Done, Ledger, Unsuitable, done_to
from oversight.verifying import Verdict, verify

HOME = Path(".rapport/bench-tamper")
ORIGIN, PER_LOG, LARGEST = "rapport.test/ledger", 50, 3000
_PASSWORD = "for-this-bench-on-loopback"
_BEGIN = datetime(2026, 11, 23, tzinfo=UTC)
_TYPES = ("care.rapport.intake.handoff-offered.v1", "care.rapport.matching.held.v1", "Überweisung → 2", "t")

Check = Callable[[Any, list[Verifier], OutsideView | None, Checkpoint | None], Awaitable[Verdict]]


@dataclass(slots=True)
class Tally:
    """Found and tried per kind, and the first of those that were missed."""

    tried: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)

    def count(self, kind: str, missed: str | None) -> None:
        """One more of a kind; `missed` says what was not found."""
        self.tried[kind] += 1
        self.found[kind] += missed is None
        if missed is not None:
            self.missed.append(f"{kind}: {missed}")

    def lines(self) -> list[str]:
        """The table."""
        rows = [f"  {kind:24} {self.found[kind]:6} / {self.tried[kind]}" for kind in KINDS if self.tried[kind]]
        return [*rows, f"  {'all':24} {self.found.total():6} / {self.tried.total()}"]


def random_entry(rng: Random, number: int) -> LedgerEntry:
    """As oversight would have recorded it; a third of inbound records, of which there is a digest alone."""
    at = _BEGIN + timedelta(microseconds=number * 1000 + rng.randrange(1000))
    place = rng.randrange(12), number
    subject = rng.choice((None, f"e-{rng.randrange(50)}", "Ä\U0001f600"))
    if rng.random() < 0.3:
        source, topic = f"hospital-{rng.randrange(3)}", rng.choice(INBOUND)
        return LedgerEntry(source, str(number), rng.choice(_TYPES), topic, *place, subject, at, rng.randbytes(32))
    topic, source = rng.choice(list(OWNED.items()))
    salt, attributes, data = rng.randbytes(16), f'{{"id":"{number}","ö":1}}', rng.randbytes(rng.choice((0, 3, 200, 600)))
    digest = digest_of(salt, attributes, data)
    return LedgerEntry(source, str(number), rng.choice(_TYPES), topic, *place, subject, at, digest, salt, attributes, data)


def random_ledger(rng: Random) -> Ledger:
    """From one entry to 3,000, small ones as often as large ones; the last checkpoint is over all of them."""
    count = min(LARGEST, max(1, round(LARGEST ** rng.random())))
    sizes = {rng.randint(1, count) for _ in range(rng.randrange(8))} | {count}
    return Ledger([random_entry(rng, number) for number in range(count)], sorted(sizes), ORIGIN)


async def trial(
    connection: Any, folder: Path, count: int, seed: int, say: Callable[[str], None], check: Check = verify
) -> Tally:
    """So many tamperings, every one on a ledger that is in order, and is so again afterwards."""
    rng, tally, kinds = Random(seed), Tally(), cycle(KINDS)
    number = 0
    while tally.tried.total() < count:
        ledger, signer = random_ledger(rng), Signer(ORIGIN, rng.randbytes(32))
        outside = OutsideView(folder / str(number))
        notes = await keep(connection, folder / str(number), ledger.entries, ledger.sizes, signer)
        newest = open_checkpoint(notes[-1], [signer.verifier]).checkpoint
        if not (verdict := await verify(connection, [signer.verifier], outside, newest)).good:
            raise AssertionError(f"a ledger that nobody touched is not good: {verdict.flaws}")
        for _ in range(min(PER_LOG, count - tally.tried.total())):
            await _one(connection, next(kinds), rng, ledger, tally, check, [signer.verifier], outside, newest)
        number += 1
        if number % 20 == 0:
            say(f"  {tally.found.total():,} found of {tally.tried.total():,}, in {number} logs")
    return tally


async def _one(
    connection: Any, kind: str, rng: Random, ledger: Ledger, tally: Tally, check: Check, keys: list[Verifier],
    outside: OutsideView, newest: Checkpoint,
) -> None:  # fmt: skip
    transaction = connection.transaction()
    await transaction.start()
    try:
        done = await done_to(connection, kind, rng, ledger)
        missed = _missed(kind, done, await check(connection, keys, outside, None))
        if missed is None and kind == "fork" and (await check(connection, keys, None, newest)).good:
            missed = f"{done.text}; a reader who holds the newest checkpoint sees nothing"
        tally.count(kind, missed and f"{missed} (ledger of {len(ledger.entries)}, signed at {list(ledger.sizes)})")
    except Unsuitable:
        pass
    finally:
        await transaction.rollback()


def _missed(kind: str, done: Done, verdict: Verdict) -> str | None:
    """None when it was found where it is."""
    if verdict.good:
        return f"{done.text}; nothing was found"
    if done.index is None:
        is_there = kind.removeprefix("table ") in {flaw.kind for flaw in verdict.flaws} and verdict.first_bad is None
    else:
        is_there = verdict.first_bad == done.index
    return None if is_there else f"{done.text}; found was {[flaw.text for flaw in verdict.flaws][:4]}"


async def run(stack: Stack, options: argparse.Namespace) -> Tally:
    """In a database of its own."""
    wanted = Database("bench_tamper", "bench_owner", _PASSWORD, "bench_runtime", _PASSWORD)
    await wanted.provision(stack.superuser_dsn)
    dsns = wanted.dsns(stack.superuser_dsn)
    await asyncio.to_thread(migrate, dsns["owner"], "oversight")
    connection = await asyncpg.connect(dsns["owner"])
    try:
        with tempfile.TemporaryDirectory() as folder:
            return await trial(connection, Path(folder), options.count, options.seed, lambda line: print(line, flush=True))
    finally:
        await connection.close()


def main() -> None:
    """Starts an empty stack of its own, and removes it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=10_000, help="how many tamperings")
    parser.add_argument("--seed", type=int, default=1, help="the same seed does the same")
    options = parser.parse_args()
    stack, began = Stack(HOME, say=print), monotonic()
    stack.down()
    stack.remove()
    stack.up(infra_only=True)
    try:
        tally = asyncio.run(run(stack, options))
    finally:
        stack.down()
        stack.remove()
    print("\n".join([f"found / tried, seed {options.seed}, {monotonic() - began:.0f} s", *tally.lines(), *tally.missed[:20]]))
    sys.exit(1 if tally.missed else 0)


if __name__ == "__main__":
    main()
