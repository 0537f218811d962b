"""People who refer: a steady stream and bursts of clients through all doors, and therapists with places for them."""

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from tests.faults.history import Claim
from tests.faults.outside import Outside

from cli.demo.fhir import bundle_of
from cli.demo.people import Part, plain_referrals, therapists
from cli.demo.referring import SOURCE, record_of
from contracts.referral import ReferralSubmitted
from contracts.topics import REFERRALS, THERAPISTS
from contracts.vocabulary import episode_id

Door = Literal["kafka", "http", "fhir"]
_PARTS: tuple[tuple[Part, int], ...] = (
    ("plain", 74), ("emergency", 4), ("silent-desk", 3), ("declined", 6), ("expired", 6), ("nobody-speaks-it", 3),
    ("no-consent", 2), ("late", 2),
)  # fmt: skip
_DOORS: tuple[Door, ...] = ("kafka", "kafka", "http", "kafka", "fhir")
_ONLY_KAFKA = ("no-consent", "late")
_SAID_TWICE, _ABSENT = 0.06, 0.1
THERAPISTS_LISTED, CAPACITY, GROWN = 60, 10, 24


@dataclass(frozen=True, slots=True)
class Client:
    """One client: the part played, the door of the referral, whether it is said twice, and whether the client comes at all."""

    part: Part
    door: Door
    referral: ReferralSubmitted
    twice: bool = False
    absent: bool = False

    @property
    def episode(self) -> str:
        return episode_id(self.referral.assigner, self.referral.identifier)

    @property
    def claim(self) -> Claim:
        """What the referral is known by."""
        identifier = self.referral.identifier
        return (SOURCE, identifier) if self.door == "kafka" else (f"/rapport/intake/{self.door}", identifier)


def clients(seed: int, count: int = 10**9) -> Iterator[Client]:
    """Invented clients without end, the same for the same seed."""
    rng = random.Random(seed)
    parts, weights = zip(*_PARTS, strict=True)
    for number, referral in enumerate(plain_referrals(count, seed, f"F{seed}")):
        part = rng.choices(parts, weights)[0]
        door = "kafka" if part in _ONLY_KAFKA else _DOORS[number % len(_DOORS)]
        yield Client(part, door, _with(referral, part), rng.random() < _SAID_TWICE, rng.random() < _ABSENT)


def _with(referral: ReferralSubmitted, part: str) -> ReferralSubmitted:
    changes: dict[str, Any] = {}
    if part in ("emergency", "silent-desk"):
        changes["need"] = referral.need.model_copy(update={"urgency": "emergency"})
    if part == "nobody-speaks-it":
        changes["need"] = referral.need.model_copy(update={"language": "eo"})
    if part == "no-consent":
        changes["consent"] = None
    if part == "late":
        changes["respond_by"] = datetime(2020, 1, 1, tzinfo=UTC)
    return referral.model_copy(update=changes)


@dataclass
class Load:
    """Refers client after client; `acknowledged` are the claims of those whose door said that they are in."""

    outside: Outside
    seed: int
    parts: dict[str, Part] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    acknowledged: set[Claim] = field(default_factory=set)
    referred: int = 0
    stopping: bool = False
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._clients = clients(self.seed)

    async def steady(self, rate: float) -> None:
        """So many clients per second, until told to stop."""
        while not self.stopping:
            self.refer()
            await asyncio.sleep(1 / rate)

    def refer(self, count: int = 1) -> None:
        """The next clients, at once."""
        for _ in range(count):
            client = next(self._clients)
            self.parts[client.episode] = client.part
            if client.absent:
                self.absent.add(client.episode)
            self.referred += 1
            self._begin(self._refer(client))
            if client.twice:
                self._begin(self._again(client))

    async def finish(self, within: float) -> int:
        """Waits for the doors; returns how many referrals no door has taken."""
        self.stopping = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within)
        left = len(self._tasks)
        for task in self._tasks:
            task.cancel()
        return left

    async def list_therapists(self) -> None:
        """Places for most; `grow` opens more."""
        for name, listing in therapists(THERAPISTS_LISTED, self.seed, CAPACITY):
            await self.outside.send(record_of(THERAPISTS, name, listing, f"{name}-1"))

    async def grow(self) -> None:
        """The same therapists with more places, so that who waits is woken."""
        for name, listing in therapists(THERAPISTS_LISTED, self.seed, GROWN):
            await self.outside.send(record_of(THERAPISTS, name, listing.model_copy(update={"version": 2}), f"{name}-2"))

    def _begin(self, act: Any) -> None:
        task = asyncio.create_task(act)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _refer(self, client: Client) -> None:
        referral = client.referral
        if client.door == "kafka":
            await (await self.outside.send(record_of(REFERRALS, referral.identifier, referral, referral.identifier)))
            self.acknowledged.add(client.claim)
            return
        if client.door == "http":
            path, body = "/v1/referrals", referral.model_dump(mode="json", exclude_none=True)
        else:
            path, body = "/fhir", bundle_of(referral)
        status = await self.outside.post("intake", path, body, referral.identifier)
        if status < 300:
            self.acknowledged.add(client.claim)

    async def _again(self, client: Client) -> None:
        """The same once more, a little later or much later."""
        await asyncio.sleep(random.Random(client.referral.identifier).choice((0.0, 0.05, 3.0, 12.0)))
        if not self.stopping:
            await self._refer(replace(client, twice=False))
