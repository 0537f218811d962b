"""Timers fire once, never before they are due, and after every downtime."""

from collections import defaultdict
from datetime import timedelta

from tests.faults.history import History, Said, Told
from tests.faults.verdict import Checked

from contracts import clinical, followup, handoff, matching

# What was due this shortly before the end of a history may still be on its way.
_ON_ITS_WAY = timedelta(seconds=15)


def check(history: History, told: Told) -> Checked:
    """Expired offers, overdue handoffs, overdue first sessions, and reminders."""
    checked = Checked("timers fire once")
    _offers(checked, history, told)
    _handoffs(checked, history)
    _sessions(checked, history, told)
    _reminders(checked, history)
    return checked


def _offers(checked: Checked, history: History, told: Told) -> None:
    offers = {one.event.offer_id: one for one in history.all(matching.MatchOffered)}
    endings = {one.event.offer_id for one in history.all(matching.MatchAccepted, matching.MatchDeclined, matching.MatchExpired)}
    freed = {(one.subject, one.event.therapist_id, one.event.seat) for one in history.all(matching.PlaceFreed)}
    answers = {one.event.offer_id: one for one in history.all(clinical.OfferAnswered)}
    for expired in history.all(matching.MatchExpired):
        checked.items += 1
        offer, answer = offers.get(expired.event.offer_id), answers.get(expired.event.offer_id)
        if offer and expired.envelope.time < offer.event.deadline:
            checked.broken("an offer expired before its deadline", (offer, expired))
        if offer and answer and answer.came < offer.event.deadline:
            checked.broken("an offer expired although it was answered in time", (offer, answer, expired))
    for offer_id, offer in offers.items():
        held = (offer.subject, offer.event.therapist_id, offer.event.seat) not in freed
        if offer_id not in endings and held and offer.event.deadline + _ON_ITS_WAY < told.as_of:
            checked.broken("an offer was neither answered nor did it expire", [offer])


def _handoffs(checked: Checked, history: History) -> None:
    offered = {one.event.handoff_id: one for one in history.all(handoff.HandoffOffered)}
    for overdue in history.all(handoff.HandoffOverdue):
        checked.items += 1
        offer = offered.get(overdue.event.handoff_id)
        if offer and overdue.envelope.time < offer.event.deadline:
            checked.broken("a handoff was overdue before its deadline", (offer, overdue))


def _sessions(checked: Checked, history: History, told: Told) -> None:
    said: dict[str, list[Said]] = defaultdict(list)
    kinds = (followup.PlanActivated, followup.PlanStoodDown, followup.SessionRecorded, followup.SessionOverdue)
    for one in sorted(history.all(*kinds), key=lambda one: one.envelope.sequence or 0):
        said[one.subject].append(one)
    for events in said.values():
        _session(checked, events, told)


def _session(checked: Checked, events: list[Said], told: Told) -> None:
    plan, overdue = None, None
    for one in events:
        if isinstance(one.event, followup.PlanActivated):
            plan, overdue = one, None
        elif isinstance(one.event, followup.SessionOverdue):
            checked.items += 1
            if overdue:
                checked.broken("a first session was overdue twice", (overdue, one))
            if one.envelope.time < one.event.due:
                checked.broken("a first session was overdue before it was due", (one,))
            overdue = one
        else:
            plan = None
    if plan and not overdue and plan.event.first_session_due + _ON_ITS_WAY < told.as_of:
        checked.broken("a first session was overdue, and nobody said so", [plan])


def _reminders(checked: Checked, history: History) -> None:
    """A timer's cause is the event, or the timer, that set it; so one cause has one reminder."""
    first: dict[tuple[str, str | None], Said] = {}
    for one in history.all(followup.ReminderDue):
        checked.items += 1
        before = first.setdefault((one.subject, one.envelope.causationid), one)
        if before is not one:
            checked.broken("one timer reminded twice", (before, one))
