"""Who is asked first, and until when: an emergency goes to people, everything else to matching."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from intake.domain.consent import CRISIS_DESK, Consent
from messaging.handoff import Kind

MATCHING = "matching"


@dataclass(frozen=True, slots=True)
class Clocks:
    """How long a receiver has to answer.

    Five minutes for a crisis desk is our own figure under the CCBHC criteria's "immediate action" (2016); a handoff's one day
    is ours too.
    """

    handoff_answer_within: timedelta = timedelta(days=1)
    crisis_answer_within: timedelta = timedelta(minutes=5)
    escalated_answer_within: timedelta = timedelta(hours=4)

    def escalated(self, kind: Kind) -> timedelta:
        """A crisis that nobody took does not get a longer clock by being escalated."""
        within = self.escalated_answer_within
        return min(self.crisis_answer_within, within) if kind == "crisis" else within


@dataclass(frozen=True, slots=True)
class Asked:
    """Who is asked to become accountable, for what, and until when."""

    receiver: str
    kind: Kind
    deadline: datetime


def first_asked(urgency: str, consent: Consent, clocks: Clocks, now: datetime) -> Asked:
    """The crisis desk for an emergency, unless the client's consent leaves it out; otherwise matching."""
    if urgency == "emergency" and consent.reaches_crisis_desk():
        return Asked(CRISIS_DESK, "crisis", now + clocks.crisis_answer_within)
    return Asked(MATCHING, "matching", now + clocks.handoff_answer_within)


def asked_next(receiver: str, clocks: Clocks, now: datetime) -> Asked | None:
    """People who accepted hand on to matching, as its next giver; after matching's own acceptance nobody is asked."""
    return None if receiver == MATCHING else Asked(MATCHING, "matching", now + clocks.handoff_answer_within)


def other_desks(desks: tuple[str, ...], custodian: str) -> tuple[str, ...]:
    """Nobody is escalated to himself, unless there is nobody else."""
    return tuple(desk for desk in desks if desk != custodian) or desks
