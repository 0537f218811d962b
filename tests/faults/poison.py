"""What nobody can process as it stands, sent through the public doors, and what must become of each."""

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.faults.history import Claim, History, Poison
from tests.faults.outside import Outside

from cli.demo.people import plain_referrals
from cli.demo.referring import SOURCE, record_of
from cli.demo.simulator import SOURCE as PORTAL
from cli.demo.simulator import Reply
from contracts import clinical, followup, intake
from contracts.binary import attributes_of, to_headers
from contracts.envelope import Envelope
from contracts.referral import ReferralSubmitted
from contracts.topics import CLINICAL, REFERRALS, THERAPISTS

Record = dict[str, Any]
_EVERYBODY = frozenset({"intake", "matching", "followup"})
_INTAKE, _MATCHING, _FOLLOWUP = frozenset({"intake"}), frozenset({"matching"}), frozenset({"followup"})


@dataclass
class Poisoner:
    """Sends the whole set each time it is asked; `sent` is what must become of each, by its mark."""

    outside: Outside
    seed: int
    sent: dict[str, Poison] = field(default_factory=dict)
    taken: set[Claim] = field(default_factory=set)
    _sets: int = 0

    async def poison(self, history: History) -> None:
        """One set, aimed at what is known of the journeys so far."""
        self._sets = number = self._sets + 1
        referrals = list(plain_referrals(10, self.seed + number, f"P{self.seed}-{number}"))
        aimed = _Aim(random.Random(self.seed + number), history)
        for record, poison in [*_referrals(referrals), *_clinical(f"{self.seed}-{number}", aimed), *_again(aimed)]:
            mark = f"{number}: {poison.kind}"
            self.sent[mark] = poison
            await (await self.outside.send(record, mark))
            if poison.taken:
                self.taken.add(poison.taken)


@dataclass(frozen=True)
class _Aim:
    """Picks from what has been said."""

    rng: random.Random
    history: History

    def one(self, *kinds: type[Any], source: str | None = None) -> Any:
        """Any event of these kinds, or None."""
        said = [one for one in self.history.all(*kinds) if source in (None, one.envelope.source)]
        return self.rng.choice(said) if said else None


def _referrals(invented: list[ReferralSubmitted]) -> Iterator[tuple[Record, Poison]]:
    records = [record_of(REFERRALS, referral.identifier, referral, referral.identifier) for referral in invented]
    bad, nothing, unknown, headless, odd, broken, nul, foreign, old, future = zip(records, invented, strict=True)
    yield bad[0] | {"value": bad[0]["value"][:40]}, Poison("bad JSON", _INTAKE)
    yield nothing[0] | {"value": None}, Poison("null value", _INTAKE)
    yield _header(unknown[0], "ce_type", b"care.rapport.referral.forgotten.v9"), Poison("unknown type", _INTAKE)
    yield _header(headless[0], "ce_subject", None), _refused("null header value", headless[1])
    yield _header(odd[0], "x-unknown", None), _taken("null value of an unknown header", odd[1])
    yield _data(broken[0], client=None), _refused("wrong schema", broken[1])
    yield _data(nul[0], note="a\x00b"), _refused("null character", nul[1])
    yield _header(foreign[0], "ce_source", b"/rapport/matching"), _refused("source of ours", foreign[1])
    yield _header(old[0], "ce_time", b"1999-12-31T23:59:59Z"), _taken("clock years behind", old[1])
    yield _header(future[0], "ce_time", b"2051-01-01T00:00:00Z"), _taken("clock years ahead", future[1])


def _clinical(number: str, aim: _Aim) -> Iterator[tuple[Record, Poison]]:
    opened = aim.one(intake.EpisodeOpened)
    episode = opened.subject if opened else "00000000-0000-5000-8000-000000000000"
    yield _said(number, "1", episode, clinical.ChoiceMade.type, b"{"), Poison("bad JSON of a choice", _MATCHING)
    yield _said(number, "2", episode, clinical.ChoiceMade.type, None), Poison("null value of a choice", _MATCHING)
    yield _said(number, "3", episode, "care.rapport.clinical.sang.v1", b"{}"), Poison("unknown type at the portal", _EVERYBODY)
    yield (
        {"topic": CLINICAL, "key": episode.encode(), "value": b"hello", "headers": []},
        Poison("no CloudEvent at all", _EVERYBODY),
    )
    check = {"session_id": "s", "goals": 99, "tasks": 1, "bond": 1, "trust": 1}
    data = json.dumps(check).encode()
    yield _said(number, "4", episode, clinical.AllianceChecked.type, data), Poison("wrong schema of a check", _FOLLOWUP)
    listing = _said(number, "5", "therapist-9999", "care.rapport.therapist.listed.v1", b'{"version": 1, "capacity": -5}')
    yield listing | {"topic": THERAPISTS}, Poison("wrong schema of a listing", _MATCHING)
    plan = aim.one(followup.PlanActivated)
    if plan:
        session = clinical.SessionRecorded(session_id=f"future-{number}", held_at=datetime(2100, 1, 1, tzinfo=UTC))
        yield (
            Reply(plan.subject, f"poison-{number}-6", session).record(),
            Poison("a session years ahead", answered=(followup.SessionRefused, f"poison-{number}-6")),
        )


def _again(aim: _Aim) -> Iterator[tuple[Record, Poison]]:
    """Known ids with other content."""
    sent = aim.one(ReferralSubmitted, source=SOURCE)
    if sent:
        other = sent.event.model_copy(update={"note": "Something else."})
        yield record_of(REFERRALS, other.identifier, other, sent.envelope.id), Poison("a referral's id, other content", _INTAKE)
    chosen = aim.one(clinical.ChoiceMade, source=PORTAL)
    if chosen:
        other = clinical.ChoiceMade(therapist_id="somebody-else")
        record = Reply(chosen.subject, chosen.envelope.id, other).record()
        yield record, Poison("a choice's id, other content", _MATCHING)


def _refused(kind: str, referral: ReferralSubmitted) -> Poison:
    return Poison(kind, answered=(intake.ReferralRefused, referral.identifier))


def _taken(kind: str, referral: ReferralSubmitted) -> Poison:
    claim = SOURCE, referral.identifier
    return Poison(kind, answered=(intake.ReferralAccepted, referral.identifier), taken=claim)


def _header(record: Record, name: str, value: bytes | None) -> Record:
    kept = [(found, raw) for found, raw in record["headers"] if found != name]
    return record | {"headers": [*kept, (name, value)]}


def _data(record: Record, **changes: Any) -> Record:
    data: Mapping[str, Any] = {**json.loads(record["value"]), **changes}
    return record | {"value": json.dumps({name: value for name, value in data.items() if value is not None}).encode()}


def _said(number: str, place: str, subject: str, event_type: str, value: bytes | None) -> Record:
    envelope = Envelope(id=f"poison-{number}-{place}", source=PORTAL, type=event_type, subject=subject, time=datetime.now(UTC))
    return {"topic": CLINICAL, "key": subject.encode(), "value": value, "headers": to_headers(attributes_of(envelope))}
