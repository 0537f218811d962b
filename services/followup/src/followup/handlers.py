"""What followup decides about sessions, alliance and silence: one pure function per event or timer, facts in, decision out."""

from contracts import clinical, followup
from followup.domain.clocks import Clocks
from followup.domain.plan import Plan, Session
from messaging.decision import Decision, DueTimer, Early, Facts, Refused, Timer

FIRST_SESSION, SILENCE = "first-session-overdue", "silence"

Outcome = Decision[Plan] | Refused | Early


def on_session_recorded(session: clinical.SessionRecorded, plan: Plan | None, facts: Facts[Clocks]) -> Outcome:
    """When a session is recorded, the clock of silence starts again; one that the client missed is no first session."""
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
    return Decision(heard, publish=[said], timers=[silence], cancel=[FIRST_SESSION] if session.attended else [])


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
    """When no session was held inside the urgency's clock, it is said and somebody is reminded."""
    if plan is None or plan.stage != "active" or plan.has_begun():
        return Decision()
    reminder = followup.ReminderDue(about="first-session", silent_since=plan.active_since)
    again = Timer(SILENCE, facts.now + facts.context.silence, patience=None)
    return Decision(plan, publish=[followup.SessionOverdue(due=timer.due), reminder], timers=[again])


def on_silence(timer: DueTimer, plan: Plan | None, facts: Facts[Clocks]) -> Outcome:
    """When nothing was heard for a while, somebody is reminded, again and again."""
    if plan is None or plan.stage != "active":
        return Decision()
    reminder = followup.ReminderDue(
        about="next-session" if plan.has_begun() else "first-session", silent_since=plan.last_heard or plan.active_since
    )
    return Decision(plan, publish=[reminder], timers=[Timer(SILENCE, facts.now + facts.context.silence, patience=None)])


def _refuse(session_id: str, reason: str) -> Refused:
    said = followup.SessionRefused.model_validate({"session_id": session_id, "reason": reason})
    return Refused(reason, publish=[said])
