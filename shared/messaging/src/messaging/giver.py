"""The giver's half of every handoff: it arbitrates answers and deadlines, and says so in its own service's events."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from contracts import handoff as said
from contracts.event import Event
from contracts.vocabulary import Arbiter, Need
from messaging.decision import DueTimer, Timer
from messaging.handoff import Custody, Handoff, Kind

ANSWER_DUE = "handoff-answer-due"


@dataclass(frozen=True, slots=True)
class Step:
    """What one move of the machine asks for: the new custody and what goes with it into the Decision."""

    custody: Custody
    publish: Sequence[Event]
    timers: Sequence[Timer] = ()
    cancel: Sequence[str] = ()
    verdict: str = "standing"


@dataclass(frozen=True, slots=True)
class Giver:
    """One service as the arbiter of what it hands on.

    `says` is the service's contracts module, which holds its six handoff events; `desks` are the named desks that an
    unanswered handoff is escalated to, in order, the last one again and again; `patience` is how long past a deadline the
    escalation waits for answers that are not yet read.
    """

    arbiter: Arbiter
    says: Any
    desks: Sequence[str]
    escalated_answer_within: timedelta
    patience: timedelta = timedelta(minutes=1)

    def offer(
        self, custody: Custody, cause: str, receiver: str, kind: Kind, deadline: datetime, consent_basis: str,
        need: Need, therapist_id: str | None = None, attempt: int = 1,
    ) -> Step:  # fmt: skip
        """Accountability is offered; the custodian stays who it was."""
        offered = custody.offering(cause, receiver, kind, deadline, consent_basis, attempt)
        standing = _standing(offered)
        event = self.says.HandoffOffered(
            **_who(standing), previous=standing.previous, kind=kind, arbiter=self.arbiter, deadline=deadline,
            consent_basis=consent_basis, need=need, therapist_id=therapist_id,
        )  # fmt: skip
        return Step(offered, [event], [Timer(ANSWER_DUE, deadline, self.patience)])

    def answered(self, custody: Custody, answer: said.HandoffAnswered) -> Step:
        """The answer is confirmed, or superseded when its handoff no longer stands or somebody else was asked.

        After a decline nothing stands: the caller escalates or offers anew in the same Decision.
        """
        verdict = custody.judge(answer.handoff_id)
        if verdict == "standing" and answer.by == _standing(custody).receiver:
            return self._confirmed(custody, answer)
        if verdict == "repeated" and custody.last_accepted and answer.by == custody.last_accepted.receiver:
            return Step(custody, [], verdict="repeated")
        current = custody.standing or custody.last_accepted
        late = self.says.HandoffSuperseded(
            handoff_id=answer.handoff_id, answered_by=answer.by, current=current.id if current else None
        )
        return Step(custody, [late], verdict="superseded")

    def _confirmed(self, custody: Custody, answer: said.HandoffAnswered) -> Step:
        who = _who(_standing(custody))
        if answer.answer == "accepted":
            return Step(custody.accepting(), [self.says.HandoffAccepted(**who)], cancel=[ANSWER_DUE], verdict="accepted")
        declined = self.says.HandoffDeclined(**who, reason=answer.reason or "unspecified")
        return Step(custody.declining(), [declined], cancel=[ANSWER_DUE], verdict="declined")

    def overdue(self, custody: Custody, timer: DueTimer, cause: str, now: datetime, need: Need, **offer: Any) -> Step:
        """Nobody answered in time: it is said, and the next named desk is asked."""
        unanswered = _standing(custody)
        said_overdue = self.says.HandoffOverdue(**_who(unanswered), backlog_unread=timer.backlog_unread)
        next_step = self.escalate(custody, unanswered, cause, now, need, **offer)
        return Step(next_step.custody, [said_overdue, *next_step.publish], next_step.timers, verdict="escalated")

    def escalate(self, custody: Custody, unanswered: Handoff, cause: str, now: datetime, need: Need, **offer: Any) -> Step:
        """The next attempt goes to a named desk, also after a decline."""
        desk = self.desks[min(unanswered.attempt, len(self.desks)) - 1]
        deadline = now + self.escalated_answer_within
        step = self.offer(
            custody, cause, desk, unanswered.kind, deadline, unanswered.consent_basis, need,
            attempt=unanswered.attempt + 1, **offer,
        )  # fmt: skip
        escalated = self.says.HandoffEscalated(
            **_who(unanswered), next_handoff_id=_standing(step.custody).id, escalated_to=desk
        )
        return Step(step.custody, [escalated, *step.publish], step.timers, verdict="escalated")


def _standing(custody: Custody) -> Handoff:
    if custody.standing is None:
        raise ValueError("no handoff stands")
    return custody.standing


def _who(handoff: Handoff) -> Mapping[str, Any]:
    return {
        "handoff_id": handoff.id,
        "giver": handoff.giver,
        "receiver": handoff.receiver,
        "attempt": handoff.attempt,
    }
