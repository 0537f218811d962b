"""What followup decides: one pure function per event or timer, facts in, decision out."""

from contracts import clinical, followup, matching
from followup.domain.clocks import Clocks
from followup.domain.plan import Plan, Session
from messaging.decision import Decision, DueTimer, Early, Facts, Refused, Timer

DESK = "followup"
FIRST_SESSION, SILENCE = "first-session-overdue", "silence"

Outcome = Decision[Plan] | Refused | Early


def on_handoff_offered(offer: matching.HandoffOffered, plan: Plan | None, facts: Facts[Clocks]) -> Outcome:
    """When matching hands a client on, the plan begins at once; matching stays custodian until it confirms."""
    if offer.receiver != DESK:
        return Decision()
    if plan is not None and plan.stage == "active":
        return Refused("already-active", publish=[_answer(offer, "declined", "already-active")])
    due = facts.context.first_session_due(offer.need.urgency, facts.now)
    opened = Plan.opened(offer.handoff_id, offer.therapist_id or "unassigned", offer.need.urgency, facts.now, due)
    activated = followup.PlanActivated(
        plan_id=opened.id, therapist_id=opened.therapist_id, urgency=offer.need.urgency, first_session_due=due
    )
    return Decision(opened, publish=[_answer(offer, "accepted"), activated], timers=[Timer(FIRST_SESSION, due, patience=None)])


def on_handoff_superseded(late: matching.HandoffSuperseded, plan: Plan | None, facts: Facts[Clocks]) -> Outcome:
    """When our answer came too late, the plan we began is given up."""
    if plan is None or late.answered_by != DESK or plan.handoff_id != late.handoff_id or plan.stage != "active":
        return Decision()
    gone = followup.PlanStoodDown(plan_id=plan.id, handoff_id=late.handoff_id)
    return Decision(plan.standing_down(), publish=[gone], cancel=[FIRST_SESSION, SILENCE])


def on_session_recorded(session: clinical.SessionRecorded, plan: Plan | None, facts: Facts[Clocks]) -> Outcome:
    """When a session is recorded, the clock of silence starts again."""
    if plan is None:
        return Early("plan-unknown")
    if plan.has(session.session_id) or session.held_at > facts.now:
        reason = "already-recorded" if plan.has(session.session_id) else "in-the-future"
        return _refuse(session.session_id, reason)
    heard = plan.with_session(Session(session.session_id, session.held_at, session.attended))
    said = followup.SessionRecorded(
        session_id=session.session_id, number=len(heard.sessions), held_at=session.held_at, attended=session.attended
    )
    silence = Timer(SILENCE, facts.now + facts.context.silence, patience=None)
    return Decision(heard, publish=[said], timers=[silence], cancel=[FIRST_SESSION])


def on_alliance_checked(check: clinical.AllianceChecked, plan: Plan | None, facts: Facts[Clocks]) -> Outcome:
    """When goals, tasks, bond and trust are rated, they go on the record, once per session and rater."""
    if plan is None:
        return Early("plan-unknown")
    if plan.was_checked(check.session_id, check.rater):
        return _refuse(check.session_id, "already-recorded")
    if not plan.has(check.session_id):
        return _refuse(check.session_id, "unknown-session")
    said = followup.AllianceChecked(**check.model_dump())
    return Decision(plan.with_check(check.session_id, check.rater), publish=[said])


def on_first_session_overdue(timer: DueTimer, plan: Plan | None, facts: Facts[Clocks]) -> Outcome:
    """When no session was heard of inside the urgency's clock, it is said and somebody is reminded."""
    if plan is None or plan.sessions:
        return Decision()
    reminder = followup.ReminderDue(about="first-session", silent_since=plan.active_since)
    again = Timer(SILENCE, facts.now + facts.context.silence, patience=None)
    return Decision(plan, publish=[followup.SessionOverdue(due=timer.due), reminder], timers=[again])


def on_silence(timer: DueTimer, plan: Plan | None, facts: Facts[Clocks]) -> Outcome:
    """When nothing was heard for a while, somebody is reminded, again and again."""
    if plan is None or plan.stage != "active":
        return Decision()
    reminder = followup.ReminderDue(
        about="next-session" if plan.sessions else "first-session", silent_since=plan.last_heard or plan.active_since
    )
    return Decision(plan, publish=[reminder], timers=[Timer(SILENCE, facts.now + facts.context.silence, patience=None)])


def _answer(offer: matching.HandoffOffered, answer: str, reason: str | None = None) -> followup.HandoffAnswered:
    return followup.HandoffAnswered.model_validate(
        {"handoff_id": offer.handoff_id, "arbiter": offer.arbiter, "answer": answer, "by": DESK, "reason": reason}
    )


def _refuse(session_id: str, reason: str) -> Refused:
    said = followup.SessionRefused.model_validate({"session_id": session_id, "reason": reason})
    return Refused(reason, publish=[said])
