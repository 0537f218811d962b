"""Operators of the kit's own service in tests: they retry, discard and resume on a replica's database."""

import itertools
import json
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tests.support import kit
from tests.support.kit import Replica, said
from tests.support.stack import FreshDatabase

from messaging.aside import NotPossible
from messaging.operating import Action, Operating, Wish
from messaging.parking import Policy
from messaging.routes import Kept, Routes, due, on

_keys = itertools.count(1)


@dataclass
class Mending:
    """A service whose handler fails on `raise` until it is mended."""

    failing: bool = True

    @property
    def routes(self) -> Routes:
        """Its routes, with the two bells."""
        return Routes(
            Kept("journal", kit.Journal, on(kit.Said, self.on_said), due("bell", kit.on_bell), due("broken", self.on_bell))
        )

    def on_said(self, event: kit.Said, state: Any, facts: Any) -> Any:
        """When something is said, it is written down, once this is mended."""
        mended = event.model_copy(update={"do": "write"}) if event.do == "raise" and not self.failing else event
        return kit.on_said(mended, state, facts)

    def on_bell(self, timer: Any, state: Any, facts: Any) -> Any:
        """When the bell rings, that is written down, once this is mended."""
        return kit.on_broken_bell(timer, state, facts) if self.failing else kit.on_bell(timer, state, facts)


def operator(replica: Replica) -> Operating:
    """Somebody who operates on this replica."""
    policy = Policy(kit.PARKED_TOPIC, timedelta(hours=1), b"key")
    return Operating(replica.pool, replica.routes, kit.SOURCE, kit.OWN_TOPIC, policy)


async def act(replica: Replica, action: Action, target: int | str, reason: str | None = "mended", **how: Any) -> dict[str, Any]:
    """One wish of olga's, under a key of its own unless one is given."""
    key = how.pop("key", f"k-{next(_keys)}")
    return await operator(replica).act(Wish(action, str(target), "olga", key, reason, **how))


async def refused(doing: Awaitable[Any]) -> tuple[str, dict[str, Any]]:
    """Why nothing was done, and what was said besides."""
    try:
        done = await doing
    except NotPossible as error:
        return error.reason, error.more
    raise AssertionError(f"it was done: {done}")


async def stuck(replica: Replica, *words: str, subject: str = "s-1") -> list[int]:
    """A lane whose head our code fails on, with words behind it; the numbers of its rows."""
    await replica.take(said("w0", subject, do="open", source="/desk"), said("head", subject, do="raise"))
    await replica.take(*(said(word, subject) for word in words))
    rows = await replica.pool.fetch("SELECT n FROM messaging.parked WHERE subject = $1 ORDER BY n", subject)
    return [row["n"] for row in rows]


async def looked(replica: Replica, times: int = 2) -> None:
    """The worker's turn."""
    for _ in range(times):
        await replica.workers.look_again()


def acted(database: FreshDatabase) -> list[tuple[str, str, str | None]]:
    """What was said of operators, in order: subject, action, reason."""
    rows = kit.sql(
        database, "SELECT key, headers, value FROM messaging.outbox WHERE headers LIKE '%operator-acted%' ORDER BY n"
    )
    said_so = [(row["key"], json.loads(row["value"])) for row in rows]
    return [(key, value["action"], value.get("reason")) for key, value in said_so]


def sequences(database: FreshDatabase, subject: str = "s-1") -> list[int]:
    """The numbers of everything we said about a subject."""
    return [number for key, number, _ in kit.outbox(database) if key == subject]
