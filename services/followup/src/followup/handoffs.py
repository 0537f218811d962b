"""What followup decides when accountability is handed to it, or taken back: pure functions, facts in, decision out."""

from dataclasses import replace

from contracts import followup, matching
from followup.domain.clocks import Clocks
from followup.domain.plan import Plan
from followup.handlers import FIRST_SESSION, SILENCE, Outcome
from messaging.decision import Decision, Facts, Refused, Timer

DESK = "followup"


def on_handoff_offered(offer: matching.HandoffOffered, plan: Plan | None, facts: Facts[Clocks]) -> Outcome:
    """When matching hands a client on, the plan begins at once; matching stays custodian until it confirms.

    A later offer says that our answer to the one before came too late: its plan takes the place of the one that we began.
    """
    if offer.receiver != DESK:
        return Decision()
    before = plan if plan is not None and plan.stage == "active" else None
    if before and before.handoff_id == offer.handoff_id:
        return Refused("already-active", publish=[_answer(offer, "declined", "already-active")])
    due = facts.context.first_session_due(offer.need.urgency, facts.now)
    opened = Plan.opened(offer.handoff_id, offer.therapist_id or "unassigned", offer.need.urgency, facts.now, due)
    activated = followup.PlanActivated(
        plan_id=opened.id, therapist_id=opened.therapist_id, urgency=offer.need.urgency, first_session_due=due
    )
    said = [_answer(offer, "accepted"), activated]
    if before:
        said.insert(0, followup.PlanStoodDown(plan_id=before.id, handoff_id=before.handoff_id))
        opened = replace(opened, sessions=before.sessions, checked=before.checked, last_heard=before.last_heard)
    return Decision(opened, publish=said, timers=[Timer(FIRST_SESSION, due, patience=None)])


def on_handoff_superseded(late: matching.HandoffSuperseded, plan: Plan | None, facts: Facts[Clocks]) -> Outcome:
    """When our answer came too late, the plan we began is given up."""
    if plan is None or late.answered_by != DESK or plan.handoff_id != late.handoff_id or plan.stage != "active":
        return Decision()
    gone = followup.PlanStoodDown(plan_id=plan.id, handoff_id=late.handoff_id)
    return Decision(replace(plan, stage="stood-down"), publish=[gone], cancel=[FIRST_SESSION, SILENCE])


def _answer(offer: matching.HandoffOffered, answer: str, reason: str | None = None) -> followup.HandoffAnswered:
    return followup.HandoffAnswered.model_validate(
        {"handoff_id": offer.handoff_id, "arbiter": offer.arbiter, "answer": answer, "by": DESK, "reason": reason}
    )
