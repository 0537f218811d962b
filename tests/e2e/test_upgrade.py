"""One service is stopped, upgraded and started while the other three run and referrals arrive: nothing is lost."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count

import pytest
from tests.e2e.payloads import referral
from tests.e2e.upgrade import REVISION, SERVICE, NextVersion, migrate
from tests.e2e.world import World
from tests.support.stack import query

from cli.demo.people import Person
from cli.demo.tally import Sent, summary
from cli.stack import Stack
from contracts import clinical, followup
from contracts.binary import attributes_of, to_headers
from contracts.envelope import Envelope
from contracts.referral import ReferralSubmitted
from contracts.topics import CLINICAL

EVERY = 0.25
SCHEMAS = "SELECT subject, schema FROM messaging.state WHERE kind = 'plan'"


@dataclass
class Arriving:
    """Referrals that arrive all the time over all doors, until they are told to stop."""

    world: World
    sent: list[Sent] = field(default_factory=list)
    stopping: bool = False
    _numbers: Iterator[int] = field(default_factory=count)

    async def arrive(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            while not self.stopping:
                tasks.create_task(self._one(next(self._numbers)))
                await asyncio.sleep(EVERY)

    async def _one(self, number: int) -> None:
        data = ReferralSubmitted.model_validate(referral(f"arrives-{number:04d}"))
        door = ("kafka", "http", "fhir")[number % 3]
        self.sent.append(await self.world.refer(Person(number, "plain", door, data)))  # type: ignore[arg-type]

    def more(self, referrals: int) -> list[Sent]:
        """Waits until so many more were acknowledged; those."""
        before = len(self.sent)
        self.world.until(lambda: len(self.sent) >= before + referrals, f"{referrals} more referrals are acknowledged")
        return self.sent[before:]


@dataclass
class Upgraded:
    """What happened while followup was upgraded."""

    new: NextVersion
    stack: Stack
    arriving: Arriving
    before: list[Sent]
    during: list[Sent]
    after: list[Sent]


@pytest.fixture(scope="module")
def upgraded(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgraded]:
    """Followup is stopped, migrated and started as its next version; referrals go on arriving until the last test is done."""
    new = NextVersion(tmp_path_factory.mktemp("next"))
    arriving = Arriving(world)
    running = world.begin(arriving.arrive())
    before = arriving.more(3)
    world.stand(before)
    world.stack.stop(SERVICE)
    during = arriving.more(3)
    migrated = migrate(world.stack, new.environment())
    assert migrated.returncode == 0, f"the new version could not migrate:\n{migrated.stdout}{migrated.stderr}"
    stack = new.stack(world.stack)
    stack.start(SERVICE)
    after = arriving.more(3)
    yield Upgraded(new, stack, arriving, before, during, after)
    arriving.stopping = True
    running.result(60)


def test_nothing_is_lost_or_doubled_when_a_service_is_upgraded_while_referrals_arrive(world: World, upgraded: Upgraded) -> None:
    world.stand([*upgraded.before, *upgraded.during, *upgraded.after])
    assert world.tally.doubled() == []


def test_the_new_version_writes_its_own_state_beside_that_of_the_old_one(world: World, upgraded: Upgraded) -> None:
    world.stand([*upgraded.before, *upgraded.during])
    owner = upgraded.stack.dsn(SERVICE, "owner")
    schema = {row["subject"]: row["schema"] for row in query(owner, SCHEMAS)}
    assert {schema[world.tally.episode_of[sent]] for sent in upgraded.before} <= {1, 2}
    assert {schema[world.tally.episode_of[sent]] for sent in upgraded.during} == {2}
    assert [row[0] for row in query(owner, "SELECT version_num FROM migrated_followup")] == [REVISION]


def test_the_old_version_holds_still_before_newer_state_and_nothing_is_lost(world: World, upgraded: Upgraded) -> None:
    upgraded.stack.stop(SERVICE)
    migrated = migrate(world.stack, {})
    assert (migrated.returncode, "newer" in migrated.stdout) == (0, True), f"{migrated.stdout}{migrated.stderr}"
    world.stack.start(SERVICE)
    episode = world.tally.episode_of[upgraded.during[0]]
    _record_session(world, episode)
    log = world.stack.log_path(SERVICE)
    began = log.stat().st_size
    world.until(lambda: "NewerState" in log.read_text()[began:], "the old version says that it meets newer state")
    waiting = upgraded.arriving.more(3)
    assert not _heard_of(world, episode), "the old version acted on newer state"

    world.stack.stop(SERVICE)
    assert "service_stopped" in log.read_text()[began:], "the old version had to be killed, because it held a batch"
    upgraded.stack.start(SERVICE)
    upgraded.arriving.stopping = True
    world.stand(waiting)
    world.until(lambda: _heard_of(world, episode), "the session is recorded once the new version is back")


def test_at_the_end_every_referral_stands_somewhere_and_has_one_custodian(world: World, upgraded: Upgraded) -> None:
    upgraded.arriving.stopping = True
    world.stand(upgraded.arriving.sent)
    world.until(lambda: not world.heard.record.custody_findings(), "every open episode has exactly one custodian")
    line, good = summary(world.tally, upgraded.arriving.sent, len(world.heard.record.custody_findings()))
    assert good, line


def _record_session(world: World, episode: str) -> None:
    session = clinical.SessionRecorded(session_id="after-the-upgrade", held_at=datetime.now(UTC))
    envelope = Envelope(id=f"s-{episode}", source="/portal/test", type=session.type, subject=episode, time=datetime.now(UTC))
    world.send(CLINICAL, episode, session.model_dump_json().encode(), to_headers(attributes_of(envelope)))


def _heard_of(world: World, episode: str) -> bool:
    events = (event for _, event in world.heard.record.episodes[episode])
    return any(isinstance(event, followup.SessionRecorded) and event.session_id == "after-the-upgrade" for event in events)
