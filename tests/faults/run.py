"""One run from an empty stack to its verdict: load and faults, then peace, then the checks."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from time import process_time
from typing import Any

import asyncpg
import httpx
from tests.faults.checker import certain, check
from tests.faults.cluster import Cluster
from tests.faults.forms import Form
from tests.faults.history import Claim, History, Told, Verified
from tests.faults.load import Load
from tests.faults.outside import Outside
from tests.faults.players import TOPICS, People, Players
from tests.faults.poison import Poisoner
from tests.faults.promises import journeys, parked, positions
from tests.faults.schedule import REPLICAS, Fault, plan
from tests.faults.verdict import Checked

from cli.events.kafka import reader, up_to_now
from cli.stack import Stack, StackSettings
from cli.stack.ledger import Ledger
from cli.stack.names import processes
from contracts import intake
from ledger.notes import Verifier
from oversight.outside import OutsideView
from oversight.verifying import verify

# Deadlines by ordinary settings, so short that they run out inside a run.
_CLOCKS: Mapping[str, Mapping[str, str]] = {
    "intake": {
        "INTAKE_CRISIS_ANSWER_WITHIN": "6", "INTAKE_ESCALATED_ANSWER_WITHIN": "25", "INTAKE_HANDOFF_ANSWER_WITHIN": "30",
    },
    "matching": {
        "MATCHING_OFFER_ANSWER_WITHIN": "6", "MATCHING_WAITING_RETRY_EVERY": "15", "MATCHING_HANDOFF_ANSWER_WITHIN": "30",
        "MATCHING_ESCALATED_ANSWER_WITHIN": "25",
    },
    "followup": {
        "FOLLOWUP_FIRST_SESSION_EMERGENCY_WITHIN": "6", "FOLLOWUP_FIRST_SESSION_URGENT_BUSINESS_DAYS": "0",
        "FOLLOWUP_SILENCE_LIMIT": "45",
    },
}  # fmt: skip
_QUIET, _LOOK_EVERY = 3.0, 15.0


@dataclass
class Outcome:
    """What was done, and what was found."""

    form: Form
    seed: int
    done: dict[str, int] = field(default_factory=dict)
    checked: list[Checked] = field(default_factory=list)
    stopped_early: bool = False

    @property
    def violations(self) -> int:
        return sum(len(one.violations) for one in self.checked)


def settings(form: Form, environment: Mapping[str, str]) -> StackSettings:
    """The stack of a run: replicas, roles, short clocks, and where Python finds the code that runs."""
    env = {**_CLOCKS, "*": dict(environment)}
    return StackSettings(env=env, processes=processes(REPLICAS, form.roles), start_within=90.0, stop_within=8.0)


class Run:
    """Everything around one stack that is up."""

    def __init__(self, stack: Stack, form: Form, seed: int, say: Callable[[str], None], fail_fast: bool = False) -> None:
        self._stack, self._form, self._seed, self._say, self._fail_fast = stack, form, seed, say, fail_fast
        self._cluster = Cluster(stack, self._tell)

    async def go(self) -> Outcome:
        """Load and faults, peace, checks."""
        self._began = asyncio.get_running_loop().time()
        async with self._everybody():
            await self._load.list_therapists()
            await self._known()
            if await self._trouble():
                await self._cluster.make_whole()
                history = await self._read()
                return Outcome(
                    self._form, self._seed, self._counts(history), certain(history, self._told()), stopped_early=True
                )
            await self._peace()
            told = self._told()
            history = await self._read()
            shown = await self._ask_oversight(history)
            told = replace(told, shown=shown, ledger=await self._verify_ledger())
        return Outcome(self._form, self._seed, self._counts(history), check(history, told))

    def _told(self) -> Told:
        acknowledged = frozenset(self._load.acknowledged | self._poisoner.taken)
        return Told(datetime.now(UTC), acknowledged, dict(self._poisoner.sent))

    @asynccontextmanager
    async def _everybody(self) -> AsyncIterator[None]:
        self._outside = Outside(self._stack.kafka_bootstrap, self._cluster.urls)
        await self._outside.open()
        self._load = Load(self._outside, self._seed)
        self._poisoner = Poisoner(self._outside, self._seed)
        people = People(self._load.parts, sessions=True, absent=self._load.absent)
        self._players = Players(self._stack.kafka_bootstrap, self._outside, people)
        self._always = [asyncio.create_task(each) for each in (self._cluster.supervise(), self._players.play())]
        try:
            yield
        finally:
            for task in self._always:
                task.cancel()
            await asyncio.gather(*self._always, return_exceptions=True)
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

    async def _trouble(self) -> bool:
        """Everything on the schedule, each at its time, while clients keep coming; True when it ended early."""
        acts = (self._load.steady(self._form.rate), self._grow_later(), self._schedule(), self._stop_early())
        *others, schedule, early = [asyncio.create_task(act) for act in acts]
        await asyncio.wait([schedule, early], return_when=asyncio.FIRST_COMPLETED)
        self._load.stopping = True
        for task in (*others, schedule, early):
            task.cancel()
        for result in await asyncio.gather(*others, schedule, early, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
        return not early.cancelled()

    async def _schedule(self) -> None:
        """No client comes any more when the time is up, even if the last fault takes a little longer to mend."""
        clock = asyncio.get_running_loop().time
        started = clock()
        async with asyncio.TaskGroup() as tasks:
            for fault in plan(self._form, self._seed):
                await asyncio.sleep(max(0.0, started + fault.at - clock()))
                tasks.create_task(self._do(fault))
            await asyncio.sleep(max(0.0, started + self._form.seconds - clock()))
            self._load.stopping = True

    async def _stop_early(self) -> None:
        """Returns at a violation that nothing can mend, if that is what was asked for."""
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            self._all_there()
            if self._fail_fast and any(one.violations for one in certain(self._players.history, self._told())):
                self._tell("a violation is certain: stopping early")
                return

    async def _do(self, fault: Fault) -> None:
        if fault.kind == "burst":
            self._load.refer(self._form.burst)
        elif fault.kind == "poison":
            await self._poisoner.poison(self._players.history)
        else:
            await self._cluster.do(fault)

    async def _grow_later(self) -> None:
        await asyncio.sleep(self._form.seconds * 0.7)
        await self._load.grow()

    async def _peace(self) -> None:
        """No more faults: until everybody stands somewhere and nothing is said any more, or nothing moves, or patience ends."""
        self._tell("peace")
        await self._cluster.make_whole()
        clock = asyncio.get_running_loop().time
        began = clock()
        await self._load.finish(self._form.settle_within / 2)
        while clock() < began + self._form.settle_within:
            self._all_there()
            quiet = clock() - max(self._players.quiet_since, began)
            if (quiet > _QUIET and self._settled()) or quiet > self._form.stuck_after:
                break
            await asyncio.sleep(1.0)
        self._tell("settled" if self._settled() else "not settled")

    def _all_there(self) -> None:
        """Raises what ended the supervisor or the players, without whom a run says nothing."""
        for task in self._always:
            if task.done():
                task.result()

    def _settled(self) -> bool:
        history, told = self._players.history, self._told()
        found = (promise(history, told) for promise in (journeys.ended, journeys.custody, parked.check, positions.check))
        return self._outside.waiting == 0 and not any(one.violations for one in found)

    async def _read(self) -> History:
        """All topics anew, from their first record to their last."""
        history = History()
        async with reader(self._stack.kafka_bootstrap, TOPICS) as consumer:
            async for record in up_to_now(consumer):
                history.add(record)
        return history

    async def _ask_oversight(self, history: History) -> dict[str, frozenset[Claim]]:
        """What the ledger shows of some episodes, asked again while it still catches up with what was said."""
        episodes = sorted({one.subject for one in history.all(intake.EpisodeOpened)})
        asked = random.Random(self._seed).sample(episodes, min(len(episodes), self._form.episodes_shown))
        said: dict[str, set[Claim]] = {episode: set() for episode in asked}
        for one in history.ours():
            said.get(one.subject, set()).add(one.claim)
        shown: dict[str, frozenset[Claim]] = {}
        clock = asyncio.get_running_loop().time
        moved = clock()
        async with httpx.AsyncClient(base_url=self._cluster.urls("oversight")[0], timeout=20) as http:
            while (left := [e for e in asked if said[e] - shown.get(e, set())]) and clock() < moved + self._form.stuck_after:
                for episode in left:
                    before, shown[episode] = shown.get(episode), await _shown(http, episode)
                    moved = clock() if said[episode] & shown[episode] - (before or set()) else moved
                await asyncio.sleep(1.0)
        return shown

    async def _verify_ledger(self) -> Verified:
        """As `rapport ledger verify` does it."""
        ledger = Ledger(self._stack.home)
        verifiers = [Verifier.parse(line) for line in ledger.public_key.read_text().split()]
        connection = await asyncpg.connect(self._stack.dsn("oversight"))
        try:
            verdict = await verify(connection, verifiers, OutsideView(ledger.outside))
        finally:
            await connection.close()
        return Verified(verdict.size, tuple(f"{flaw.kind}: {flaw.text}" for flaw in verdict.flaws))

    def _counts(self, history: History) -> dict[str, int]:
        return {
            **self._cluster.done,
            "referrals": self._load.referred,
            "acknowledged": len(self._load.acknowledged),
            "events": len(history.said),
            "records said again": len(history.again),
            "poisoned records": len(self._poisoner.sent),
            "CPU seconds of the harness": round(process_time()),
        }

    def _tell(self, text: str) -> None:
        at = asyncio.get_running_loop().time() - self._began
        events = len(self._players.history.said)
        self._say(f"{at:6.1f} s  {self._load.referred} referred, {events} events  {text}")


async def _shown(http: httpx.AsyncClient, episode: str) -> frozenset[Claim]:
    """Nothing while oversight does not answer."""
    try:
        answer = await http.get(f"/v1/episodes/{episode}/events", headers={"X-Actor": "fault-harness"})
    except httpx.HTTPError:
        return frozenset()
    events: list[Any] = answer.json() if answer.is_success else []
    return frozenset((event["source"], event["id"]) for event in events)
