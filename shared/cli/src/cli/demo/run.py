"""One demo from an empty stack to its last line."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import httpx

from cli.demo.killing import kill_each
from cli.demo.people import Person, clients, therapists
from cli.demo.playing import Playground
from cli.demo.record import Record
from cli.demo.referring import Referrer, list_therapist
from cli.demo.samples import FileResult, refer_files
from cli.demo.simulator import Simulator
from cli.demo.tally import Sent
from cli.stack.settings import StackSettings
from cli.stack.stack import Stack
from contracts.vocabulary import episode_id

THERAPISTS = 200
_QUIET, _PATIENCE = 1.5, 90.0

# Short deadlines by ordinary settings: a silent desk and a silent therapist must show inside the demo.
SETTINGS = StackSettings(
    env={
        "intake": {"INTAKE_CRISIS_ANSWER_WITHIN": "4", "INTAKE_ESCALATED_ANSWER_WITHIN": "30"},
        "matching": {"MATCHING_OFFER_ANSWER_WITHIN": "6", "MATCHING_WAITING_RETRY_EVERY": "20"},
    }
)


@dataclass(slots=True)
class Progress:
    """What a progress bar shows: how many were sent and how many stand somewhere."""

    total: int
    sent: list[Sent] = field(default_factory=list)
    record: Record = field(default_factory=Record)
    files: list[FileResult] = field(default_factory=list)

    def ended(self) -> int:
        """Referrals whose client is in follow-up, waiting, or was refused."""
        return self.record.ended(self.sent)


@dataclass(frozen=True, slots=True)
class Demo:
    """The options of one run; `pace` is referrals per second, None as fast as the doors take them."""

    stack: Stack
    referrals: int
    seed: int
    kill: Sequence[str] = ()
    fhir: Path | None = None
    say: Callable[[str], None] = print

    async def play(self, progress: Progress) -> None:
        """Refers everybody, answers for everybody, and returns when all is quiet or patience is at its end."""
        people = list(clients(self.referrals, self.seed))
        parts = {episode_id(p.referral.assigner, p.referral.identifier): p.part for p in people}
        simulator = Simulator(parts, sessions=True)
        async with Playground(self.stack.kafka_bootstrap, simulator, progress.record.observe) as playground:
            await self._list_therapists(playground)
            referrer = Referrer(playground.producer, lambda: self.stack.http_url("intake"))
            killing = asyncio.create_task(self._kill(progress))
            await self._refer(people, referrer, progress)
            if self.fhir:
                progress.files = await refer_files(self.fhir, self.stack.http_url("intake"))
                progress.sent += [one for file in progress.files for one in file.sent]
            await killing
            await self._until_quiet(playground, progress)
            await referrer.close()

    async def _list_therapists(self, playground: Playground) -> None:
        listed = list(therapists(THERAPISTS, self.seed))
        for therapist, listing in listed:
            await list_therapist(playground.producer, therapist, listing)
        await playground.producer.flush()
        async with httpx.AsyncClient(base_url=self.stack.http_url("matching")) as matching:
            for therapist, _ in listed:
                while (await matching.get(f"/v1/therapists/{therapist}")).status_code != httpx.codes.OK:
                    await asyncio.sleep(0.1)

    async def _refer(self, people: Sequence[Person], referrer: Referrer, progress: Progress) -> None:
        pause = 0.04 if self.kill else 0.0
        limit = asyncio.Semaphore(8)

        async def one(person: Person) -> None:
            async with limit:
                progress.sent.append(await referrer.refer(person))

        async with asyncio.TaskGroup() as tasks:
            for person in people:
                tasks.create_task(one(person))
                await asyncio.sleep(pause)

    async def _kill(self, progress: Progress) -> None:
        total = self.referrals
        await kill_each(self.stack, self.kill, total, progress.ended, lambda: len(progress.sent), self.say)

    async def _until_quiet(self, playground: Playground, progress: Progress) -> None:
        deadline = monotonic() + _PATIENCE
        while monotonic() < deadline:
            everybody_stands = progress.ended() == len(progress.sent)
            if everybody_stands and playground.quiet_for() > _QUIET and not progress.record.custody_findings():
                return
            await asyncio.sleep(0.1)
