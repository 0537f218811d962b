"""One run from an empty stack to its verdict: load and faults, then peace, then the checks."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
from tests.faults.checker import check
from tests.faults.cluster import Cluster
from tests.faults.forms import Form
from tests.faults.history import Claim, History, Told
from tests.faults.load import Load
from tests.faults.outside import Outside
from tests.faults.players import TOPICS, People, Players
from tests.faults.promises import journeys
from tests.faults.schedule import REPLICAS, Fault, plan
from tests.faults.verdict import Checked

from cli.events.kafka import reader, up_to_now
from cli.stack import Stack, StackSettings
from cli.stack.names import processes

# Deadlines by ordinary settings, so short that they run out inside a run.
_CLOCKS: Mapping[str, Mapping[str, str]] = {
    "intake": {
        "INTAKE_CRISIS_ANSWER_WITHIN": "5", "INTAKE_ESCALATED_ANSWER_WITHIN": "15", "INTAKE_HANDOFF_ANSWER_WITHIN": "20",
    },
    "matching": {
        "MATCHING_OFFER_ANSWER_WITHIN": "8", "MATCHING_WAITING_RETRY_EVERY": "10", "MATCHING_HANDOFF_ANSWER_WITHIN": "20",
        "MATCHING_ESCALATED_ANSWER_WITHIN": "15",
    },
    "followup": {
        "FOLLOWUP_FIRST_SESSION_EMERGENCY_WITHIN": "6", "FOLLOWUP_FIRST_SESSION_URGENT_BUSINESS_DAYS": "0",
        "FOLLOWUP_SILENCE_LIMIT": "45",
    },
}  # fmt: skip
_QUIET = 3.0


@dataclass
class Outcome:
    """What was done, and what was found."""

    form: Form
    seed: int
    done: dict[str, int] = field(default_factory=dict)
    checked: list[Checked] = field(default_factory=list)

    @property
    def violations(self) -> int:
        return sum(len(one.violations) for one in self.checked)


def settings(form: Form, environment: Mapping[str, str]) -> StackSettings:
    """The stack of a run: replicas, roles, short clocks, and where Python finds the code that runs."""
    env = {**_CLOCKS, "*": dict(environment)}
    return StackSettings(env=env, processes=processes(REPLICAS, form.roles), start_within=90.0, stop_within=8.0)


class Run:
    """Everything around one stack that is up."""

    def __init__(self, stack: Stack, form: Form, seed: int, say: Callable[[str], None]) -> None:
        self._stack, self._form, self._seed, self._say = stack, form, seed, say
        self._cluster = Cluster(stack, self._tell)

    async def go(self) -> Outcome:
        """Load and faults, peace, checks."""
        self._began = asyncio.get_running_loop().time()
        async with self._everybody():
            await self._load.list_therapists()
            await self._known()
            await self._trouble()
            await self._peace()
            told = Told(datetime.now(UTC), frozenset(self._load.acknowledged))
            history = await self._read()
            shown = await self._ask_oversight(history)
        told = Told(told.as_of, told.acknowledged, shown=shown)
        return Outcome(self._form, self._seed, self._counts(history), check(history, told))

    @asynccontextmanager
    async def _everybody(self) -> AsyncIterator[None]:
        self._outside = Outside(self._stack.kafka_bootstrap, self._cluster.urls)
        await self._outside.open()
        self._load = Load(self._outside, self._seed)
        people = People(self._load.parts, sessions=True, absent=self._load.absent)
        self._players = Players(self._stack.kafka_bootstrap, self._outside, people)
        tasks = [asyncio.create_task(each) for each in (self._cluster.supervise(), self._players.play())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._outside.close()
            self._cluster.close()

    async def _known(self) -> None:
        """Until matching knows a therapist."""
        async with httpx.AsyncClient(timeout=5) as http:
            for _ in range(100):
                with suppress(httpx.HTTPError):
                    url = self._cluster.urls("matching")[0]
                    if (await http.get(f"{url}/v1/therapists/therapist-0059")).is_success:
                        return
                await asyncio.sleep(0.2)

    async def _trouble(self) -> None:
        """Everything on the schedule, each at its time, while clients keep coming."""
        started = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._load.steady(self._form.rate))
            tasks.create_task(self._grow_later())
            for fault in plan(self._form, self._seed):
                await asyncio.sleep(max(0.0, started + fault.at - asyncio.get_running_loop().time()))
                tasks.create_task(self._do(fault))
            await asyncio.sleep(max(0.0, started + self._form.seconds - asyncio.get_running_loop().time()))
            self._load.stopping = True

    async def _do(self, fault: Fault) -> None:
        if fault.kind == "burst":
            self._load.refer(self._form.burst)
        elif fault.kind != "poison":
            await self._cluster.do(fault)

    async def _grow_later(self) -> None:
        await asyncio.sleep(self._form.seconds * 0.7)
        await self._load.grow()

    async def _peace(self) -> None:
        """No more faults: until everybody stands somewhere and nothing is said any more, or patience ends."""
        self._tell("peace")
        await self._cluster.make_whole()
        clock = asyncio.get_running_loop().time
        until = clock() + self._form.settle_within
        await self._load.finish(self._form.settle_within / 2)
        while clock() < until and not (clock() - self._players.quiet_since > _QUIET and self._settled()):
            await asyncio.sleep(1.0)
        self._tell("settled" if clock() < until else "not settled")

    def _settled(self) -> bool:
        told = Told(datetime.now(UTC), frozenset(self._load.acknowledged))
        found = journeys.ended(self._players.history, told), journeys.custody(self._players.history, told)
        return not any(one.violations for one in found) and self._outside.waiting == 0

    async def _read(self) -> History:
        """All topics anew, from their first record to their last."""
        history = History()
        async with reader(self._stack.kafka_bootstrap, TOPICS) as consumer:
            async for record in up_to_now(consumer):
                history.add(record)
        return history

    async def _ask_oversight(self, history: History) -> dict[str, frozenset[Claim]]:
        """What the ledger shows of some episodes."""
        episodes = sorted({one.subject for one in history.said if one.place.topic == "intake.events.v1"})
        asked = random.Random(self._seed).sample(episodes, min(len(episodes), self._form.episodes_shown))
        async with httpx.AsyncClient(base_url=self._cluster.urls("oversight")[0], timeout=20) as http:
            return {episode: await _shown(http, episode) for episode in asked}

    def _counts(self, history: History) -> dict[str, int]:
        return {
            **self._cluster.done,
            "referrals": self._load.referred,
            "acknowledged": len(self._load.acknowledged),
            "events": len(history.said),
            "records said again": len(history.again),
        }

    def _tell(self, text: str) -> None:
        at = asyncio.get_running_loop().time() - self._began
        events = len(self._players.history.said)
        self._say(f"{at:6.1f} s  {self._load.referred} referred, {events} events  {text}")


async def _shown(http: httpx.AsyncClient, episode: str) -> frozenset[Claim]:
    answer = await http.get(f"/v1/episodes/{episode}/events", headers={"X-Actor": "fault-harness"})
    events: list[Any] = answer.json() if answer.is_success else []
    return frozenset((event["source"], event["id"]) for event in events)
