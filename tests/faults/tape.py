"""Small histories made by hand: records as they would lie in Kafka, for tests of the checker."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from tests.faults.history import MARK, Claim, History, Told, Verified
from tests.faults.verdict import Checked

from contracts import clinical, followup, intake, matching, oversight
from contracts.binary import attributes_of, to_headers
from contracts.envelope import Envelope
from contracts.event import Event
from contracts.operations import ShardPosition
from contracts.parked import RecordParked
from contracts.referral import ClientIdentity, ConsentBasis, ReferralSubmitted, RequestedNeed
from contracts.topics import OWNED, topic_of
from contracts.vocabulary import Need, episode_id

START = datetime(2026, 11, 23, 9, tzinfo=UTC)
ASSIGNER, NUMBER = "st-mary", "R-1"
EPISODE = episode_id(ASSIGNER, NUMBER)
CLAIM: Claim = ("/ehr/st-mary", NUMBER)
NEED = Need(problem_area="anxiety", age_band="adult")
Headers = list[tuple[str, bytes]]
_POSITIONS = {"intake": intake, "matching": matching, "followup": followup, "oversight": oversight}


@dataclass(frozen=True)
class Record:
    """As much of a Kafka record as is read; `said` is its envelope and event, kept to be doctored."""

    topic: str
    said: tuple[Envelope, Event]
    marks: Headers = field(default_factory=list)
    partition: int = 0
    offset: int = 0

    @property
    def headers(self) -> Headers:
        return to_headers(attributes_of(self.said[0])) + self.marks

    @property
    def timestamp(self) -> int:
        return round(self.said[0].time.timestamp() * 1000)

    @property
    def value(self) -> bytes:
        return self.said[1].model_dump_json(exclude_none=True).encode()


@dataclass
class Tape:
    """One partition per topic; every source counts its subjects, and a second passes between two events."""

    records: list[Record] = field(default_factory=list)
    now: datetime = START
    _numbers: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def say(
        self, who: str, event: Event, subject: str = EPISODE, because: str | None = None, topic: str | None = None,
        mark: str | None = None, event_id: str | None = None,
    ) -> str:  # fmt: skip
        """One more record; the answer is its id."""
        self.now += timedelta(seconds=1)
        topic = topic or topic_of(event.type)
        ours = who.startswith("/rapport/")
        self._numbers[topic, who, subject] += 1
        envelope = Envelope(
            id=event_id or f"e-{len(self.records)}", source=who, type=event.type, time=self.now, subject=subject,
            causationid=because, sequence=self._numbers[topic, who, subject] if ours else None,
        )  # fmt: skip
        self.records.append(Record(topic, (envelope, event), [(MARK, mark.encode())] if mark else []))
        return envelope.id

    def park(self, service: str, place: str, reason: str = "unknown-type") -> str:
        """The service announces that it set the record at this place aside."""
        topic, partition, offset = place.split("|")
        parked = RecordParked(topic=topic, partition=int(partition), offset=int(offset), reason=reason, size=1, digest="d")
        return self.say(f"/rapport/{service}", parked, subject=f"{topic}-{partition}-{offset}", topic=f"{service}.parked.v1")

    def count(self) -> None:
        """Every service says how much it said."""
        for topic, source in OWNED.items():
            ids = [record.said[0].id for record in self.records if record.topic == topic and record.said[0].source == source]
            if ids:
                total = sum(int.from_bytes(sha256(one.encode()).digest()[:8], "big") for one in ids) % 2**64
                shard = ShardPosition(partition=0, count=len(ids), last_id=ids[-1], digest=f"{total:016x}")
                kind = _POSITIONS[source.rpartition("/")[2]].OutboxPosition
                self.say(source, kind(count=len(ids), last_sequence=len(ids), shards=(shard,), at=self.now), subject=source)

    def find(self, kind: type[Event]) -> int:
        """Where the first event of this kind lies."""
        return next(place for place, record in enumerate(self.records) if isinstance(record.said[1], kind))

    def drop(self, kind: type[Event]) -> None:
        """The first event of this kind never reached Kafka."""
        del self.records[self.find(kind)]

    def again(self, kind: type[Event], **changes: object) -> None:
        """The first event of this kind once more, its envelope or its data changed."""
        record = self.records[self.find(kind)]
        envelope, event = record.said
        of_envelope = {name: value for name, value in changes.items() if name in Envelope.model_fields}
        of_event = {name: value for name, value in changes.items() if name not in of_envelope}
        self.records.append(
            replace(record, said=(envelope.model_copy(update=of_envelope), event.model_copy(update=of_event)))
        )  # fmt: skip

    def change(self, kind: type[Event], **changes: object) -> None:
        """The first event of this kind, changed where it lies."""
        place = self.find(kind)
        self.again(kind, **changes)
        self.records[place] = self.records.pop()

    def swap(self, first: type[Event], second: type[Event]) -> None:
        """These two lie the other way round."""
        one, other = self.find(first), self.find(second)
        self.records[one], self.records[other] = self.records[other], self.records[one]

    def history(self) -> History:
        """As a checker gets it."""
        offsets: Counter[str] = Counter()
        placed = []
        for record in self.records:
            placed.append(replace(record, offset=offsets[record.topic]))
            offsets[record.topic] += 1
        return History.of(placed)

    def told(self) -> Told:
        """One acknowledged referral, and a ledger that shows everything that is said about it here."""
        shown = {(r.said[0].source, r.said[0].id) for r in self.records if r.topic in OWNED and r.said[0].subject == EPISODE}
        return Told(
            self.now + timedelta(hours=1), frozenset({CLAIM}), shown={EPISODE: frozenset(shown)}, ledger=Verified(8, ())
        )


def referral() -> ReferralSubmitted:
    """What was sent under CLAIM."""
    client = ClientIdentity(record_number="M-1", family_name="Doe", given_name="Jo", birth_date=START.date())
    return ReferralSubmitted(
        assigner=ASSIGNER, identifier=NUMBER, client=client, need=RequestedNeed(problem_area="anxiety"),
        consent=ConsentBasis(kind="treatment"),
    )  # fmt: skip


def whole_journey() -> Tape:
    """One client from the referral to a session, everything kept, everything counted."""
    tape, shown = Tape(), {"assigner": ASSIGNER, "identifier": NUMBER, "referral_source": CLAIM[0], "referral_id": NUMBER}
    tape.say(CLAIM[0], referral(), subject=NUMBER, event_id=NUMBER)
    tape.say("/rapport/intake", intake.EpisodeOpened(need=NEED, consent_basis="treatment", custodian="intake"), because=NUMBER)
    tape.say("/rapport/intake", intake.ReferralAccepted(**shown), because=NUMBER)
    asked = tape.say("/rapport/intake", offered(intake, "h-1", "intake", "matching"), because=NUMBER)
    answer = {"handoff_id": "h-1", "arbiter": "intake", "answer": "accepted", "by": "matching"}
    answered = tape.say("/rapport/matching", matching.HandoffAnswered.model_validate(answer), because=asked)
    candidate = matching.Candidate(therapist_id="t-1", points=0, reasons=())
    listed = tape.say("/rapport/matching", matching.ShortlistProposed(candidates=(candidate,)), because=asked)
    tape.say("/rapport/intake", accepted(intake, "h-1", "intake", "matching"), because=answered)
    chosen = tape.say("/portal", clinical.ChoiceMade(therapist_id="t-1"), because=listed)
    tape.say("/rapport/matching", match_offered("o-1", tape.now, seat=1, counter=1), because=chosen)
    took = tape.say("/portal", clinical.OfferAnswered(offer_id="o-1", answer="accepted"))
    tape.say("/rapport/matching", matching.MatchAccepted(offer_id="o-1", therapist_id="t-1"), because=took)
    asked = tape.say("/rapport/matching", offered(matching, "h-2", "matching", "followup", previous="h-1"), because=took)
    answer = {"handoff_id": "h-2", "arbiter": "matching", "answer": "accepted", "by": "followup"}
    answered = tape.say("/rapport/followup", followup.HandoffAnswered.model_validate(answer), because=asked)
    tape.say("/rapport/followup", plan("p-1", tape.now), because=asked)
    tape.say("/rapport/matching", accepted(matching, "h-2", "matching", "followup"), because=answered)
    came = tape.say("/portal", clinical.SessionRecorded(session_id="s-1", held_at=tape.now))
    tape.say("/rapport/followup", session("s-1", tape.now), because=came)
    tape.count()
    return tape


def offered(says: object, handoff_id: str, giver: str, receiver: str, previous: str | None = None) -> Event:
    """A handoff that may be answered within an hour."""
    kind: Callable[..., Event] = says.HandoffOffered  # type: ignore[attr-defined]
    return kind(
        handoff_id=handoff_id, giver=giver, receiver=receiver, attempt=1, kind=receiver, arbiter=giver,
        deadline=START + timedelta(hours=1), consent_basis="treatment", need=NEED, previous=previous,
    )  # fmt: skip


def accepted(says: object, handoff_id: str, giver: str, receiver: str) -> Event:
    """Its confirmation."""
    kind: Callable[..., Event] = says.HandoffAccepted  # type: ignore[attr-defined]
    return kind(handoff_id=handoff_id, giver=giver, receiver=receiver, attempt=1)


def match_offered(offer_id: str, now: datetime, seat: int, counter: int, capacity: int = 1) -> Event:
    """An offer that may be answered within a minute."""
    return matching.MatchOffered(
        offer_id=offer_id, therapist_id="t-1", seat=seat, counter=counter, capacity=capacity,
        deadline=now + timedelta(minutes=1),
    )  # fmt: skip


def plan(plan_id: str, now: datetime) -> Event:
    """A plan whose first session is due in a minute."""
    due = now + timedelta(minutes=1)
    return followup.PlanActivated(plan_id=plan_id, therapist_id="t-1", urgency="routine", first_session_due=due)


def session(session_id: str, now: datetime) -> Event:
    """A session on the record."""
    return followup.SessionRecorded(session_id=session_id, number=1, held_at=now, attended=True)


def broken(checked: list[Checked]) -> dict[str, str]:
    """The first violation of each promise that was not kept."""
    return {one.promise: str(one.violations[0]) for one in checked if one.violations}
