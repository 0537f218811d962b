"""The match of one episode: from the handoff to matching, over shortlist, choice and offer, to the handoff to followup."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from matching.domain.listing import Need
from matching.domain.places import TakePlace
from messaging.handoff import Custody

DESK, FOLLOWUP = "matching", "followup"
ANY = "any"

Stage = Literal["begun", "shortlisted", "offered", "accepted", "handed-over", "waiting", "stood-down"]
Ending = Literal["declined", "expired", "superseded"]
NoChoice = Literal["not-on-shortlist", "already-chosen", "no-shortlist", "stood-down"]
NoAnswer = Literal["not-offered", "expired", "already-answered", "stood-down"]


@dataclass(frozen=True, slots=True)
class Terms:
    """How long everybody has, and who is asked when nobody answers."""

    offer_answer_within: timedelta = timedelta(days=2)
    handoff_answer_within: timedelta = timedelta(days=1)
    escalated_answer_within: timedelta = timedelta(hours=4)
    waiting_retry_every: timedelta = timedelta(minutes=10)
    desks: tuple[str, ...] = ("matching-desk",)


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason for a candidate's place; the points of all add up to the candidate's."""

    code: str
    points: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """One therapist on the shortlist."""

    therapist_id: str
    points: int
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Offer:
    """A match put to a therapist until a deadline, holding a numbered seat."""

    id: str
    therapist_id: str
    seat: int
    deadline: datetime


@dataclass(frozen=True, slots=True)
class Match:
    """Where one client stands on the way to a therapist.

    A seat is held exactly while `offer` is set: from the offer on, through its acceptance, until it is given back.
    Who declined is not asked again; who let an offer expire is, once the client has waited.
    """

    handoff_id: str
    need: Need
    consent_basis: str
    custody: Custody
    stage: Stage = "begun"
    shortlist: tuple[Candidate, ...] = ()
    offer: Offer | None = None
    declined_by: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    past_offers: tuple[tuple[str, Ending], ...] = ()

    @property
    def passed(self) -> tuple[str, ...]:
        """Therapists who are not asked now."""
        return self.declined_by + self.silent

    @property
    def therapist(self) -> str | None:
        """Who holds a seat for the client."""
        return self.offer.therapist_id if self.offer else None

    def remaining(self) -> list[str]:
        """Those on the shortlist the client saw who can still be asked, in the order of asking."""
        return [c.therapist_id for c in self.shortlist if c.therapist_id not in self.passed]

    def proposing(self, shortlist: tuple[Candidate, ...]) -> "Match":
        """A shortlist is put to the client."""
        return replace(self, stage="shortlisted", shortlist=shortlist)

    def choosing(self, therapist_id: str) -> "Match":
        """The client's choice comes first; the others stay behind it, in case it falls through. `any` keeps the ranking."""
        chosen_first = sorted(self.shortlist, key=lambda candidate: candidate.therapist_id != therapist_id)
        return replace(self, shortlist=tuple(chosen_first))

    def offering(self, offer_id: str, place: TakePlace, deadline: datetime) -> "Match":
        """The match is put to a therapist."""
        return replace(self, stage="offered", offer=Offer(offer_id, place.therapist, place.seat, deadline))

    def giving_back(self, ending: Ending) -> "Match":
        """The offer ends and its seat is held no longer."""
        if self.offer is None:
            return self
        therapist = (self.offer.therapist_id,)
        return replace(
            self, offer=None, past_offers=(*self.past_offers, (self.offer.id, ending)),
            declined_by=self.declined_by + therapist if ending == "declined" else self.declined_by,
            silent=self.silent + therapist if ending == "expired" else self.silent,
        )  # fmt: skip

    def waiting(self) -> "Match":
        """Nobody is left to ask now."""
        return replace(self, stage="waiting", shortlist=(), silent=())

    def standing_down(self) -> "Match":
        """The episode is somebody else's again; answers to what was handed on count no more."""
        return replace(self, stage="stood-down", shortlist=(), custody=self.custody.declining())

    def why_no_choice(self, therapist_id: str) -> NoChoice | None:
        """Why the client cannot choose this therapist now, or None."""
        if self.stage == "stood-down":
            return "stood-down"
        if self.stage in ("begun", "waiting"):
            return "no-shortlist"
        if self.stage != "shortlisted":
            return "already-chosen"
        return None if therapist_id in (ANY, *self.remaining()) else "not-on-shortlist"

    def why_no_answer(self, offer_id: str) -> NoAnswer | None:
        """Why this offer cannot be answered now, or None; what ended it counts, not the clock."""
        if self.offer and self.offer.id == offer_id:
            return None if self.stage == "offered" else "already-answered"
        if self.stage == "stood-down":
            return "stood-down"
        ending = dict(self.past_offers).get(offer_id)
        if ending is None:
            return "not-offered"
        return "already-answered" if ending == "declined" else "expired"
