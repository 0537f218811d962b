"""Plays clients, therapists and desks: it sees what the services publish and answers on `clinical.inbound.v1`, nothing else."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from zlib import crc32

from cli.demo.people import Part
from contracts import clinical, followup, intake, matching
from contracts.binary import attributes_of, to_headers
from contracts.envelope import Envelope
from contracts.event import Event
from contracts.topics import CLINICAL

SOURCE = "/portal/demo"
HUMAN_DESKS = frozenset({"crisis-desk", "duty-manager", "clinical-director"})


@dataclass(frozen=True, slots=True)
class Reply:
    """What somebody says next; its id is derived from what they answer, so that saying it twice is saying it once."""

    subject: str
    id: str
    data: Event

    def record(self) -> dict[str, Any]:
        """The arguments of a Kafka producer's send."""
        envelope = Envelope(id=self.id, source=SOURCE, type=self.data.type, subject=self.subject, time=datetime.now(UTC))
        return {
            "topic": CLINICAL,
            "key": self.subject.encode(),
            "value": self.data.model_dump_json(exclude_none=True).encode(),
            "headers": to_headers(attributes_of(envelope)),
        }


@dataclass(slots=True)
class Simulator:
    """Everybody answers at once, except where an episode's part says otherwise.

    `parts` names the part of an episode; `sessions` makes clients come to a first session and rate the alliance.
    """

    parts: Mapping[str, Part] = field(default_factory=dict)
    sessions: bool = False
    offers_seen: dict[str, int] = field(default_factory=dict)

    def react(self, headers: Iterable[tuple[str, bytes]], value: bytes) -> list[Reply]:
        """What is said because of one record; most records need no answer."""
        found = dict(headers)
        play = _PLAYS.get(found.get("ce_type", b"").decode())
        if play is None:
            return []
        subject, cause = found["ce_subject"].decode(), found["ce_id"].decode()
        said = getattr(self, play)(subject, json.loads(value))
        return [Reply(subject, f"{cause}-{number}", data) for number, data in enumerate(said)]

    def choose(self, episode: str, shortlist: Mapping[str, Any]) -> list[Event]:
        """The client takes the first of the shortlist, or whoever."""
        first = shortlist["candidates"][0]["therapist_id"]
        return [clinical.ChoiceMade(therapist_id=first if crc32(episode.encode()) % 2 else "any")]

    def answer_offer(self, episode: str, offer: Mapping[str, Any]) -> list[Event]:
        """The therapist accepts; the first offer is declined or left unanswered where that is the part."""
        self.offers_seen[episode] = seen = self.offers_seen.get(episode, 0) + 1
        part = self.parts.get(episode, "plain")
        if part == "expired" and seen == 1:
            return []
        declines = part == "declined" and seen == 1
        answer, reason = ("declined", "no-time") if declines else ("accepted", None)
        return [clinical.OfferAnswered.model_validate({"offer_id": offer["offer_id"], "answer": answer, "reason": reason})]

    def answer_handoff(self, episode: str, handoff: Mapping[str, Any]) -> list[Event]:
        """Human desks accept what they are offered; a silent crisis desk leaves it to the next one."""
        desk = handoff["receiver"]
        if desk not in HUMAN_DESKS or (desk == "crisis-desk" and self.parts.get(episode) == "silent-desk"):
            return []
        accepted = {"handoff_id": handoff["handoff_id"], "arbiter": handoff["arbiter"], "answer": "accepted", "by": desk}
        return [clinical.HandoffAnswered.model_validate(accepted)]

    def attend(self, episode: str, plan: Mapping[str, Any]) -> list[Event]:
        """The client comes to a first session and rates the alliance."""
        if not self.sessions:
            return []
        session = f"{plan['plan_id']}-1"
        rated = {item: 6 + crc32(f"{episode} {item}".encode()) % 4 for item in ("goals", "tasks", "bond", "trust")}
        return [
            clinical.SessionRecorded(session_id=session, held_at=datetime.now(UTC)),
            clinical.AllianceChecked(session_id=session, **rated),
        ]


# By the name of the method, so that who plays it otherwise overrides it.
_PLAYS = {
    matching.ShortlistProposed.type: "choose",
    matching.MatchOffered.type: "answer_offer",
    intake.HandoffOffered.type: "answer_handoff",
    matching.HandoffOffered.type: "answer_handoff",
    followup.PlanActivated.type: "attend",
}
