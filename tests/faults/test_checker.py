"""The checker on small histories: a true one passes, and each way of breaking a promise is found by that promise."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.faults.checker import PROMISES, check
from tests.faults.history import Poison, Told, Verified
from tests.faults.tape import CLAIM, EPISODE, START, Tape, broken, match_offered, plan, session, whole_journey

from contracts import clinical, followup, handoff, intake, matching, oversight
from contracts.operations import OutboxPosition, ShardPosition

Doctor = Callable[[Tape], object]


def test_a_history_in_which_every_promise_was_kept_has_no_violations() -> None:
    tape = whole_journey()
    checked = check(tape.history(), tape.told())
    assert broken(checked) == {}
    assert len(checked) == len(PROMISES)
    assert {one.promise: one.items for one in checked if not one.items} == {
        "nothing parked unexplained": 0, "timers fire once": 0
    }  # fmt: skip
    assert [one.promise for one in checked if one.skipped] == []


def test_what_a_relay_says_again_is_no_violation() -> None:
    tape = whole_journey()
    for kind in (intake.EpisodeOpened, matching.MatchOffered, followup.PlanActivated):
        tape.again(kind)
    assert broken(check(tape.history(), tape.told())) == {}
    assert len(tape.history().again) == 3


def cut_off(tape: Tape) -> None:
    del tape.records[1:]


def hand_over_twice(tape: Tape) -> None:
    tape.again(matching.HandoffAccepted, id="other", sequence=5, handoff_id="h-3", receiver="crisis-desk")


def session_twice(tape: Tape) -> None:
    came = tape.say("/portal", clinical.SessionRecorded(session_id="s-2", held_at=tape.now))
    for session_id in ("s-2", "s-3"):
        tape.say("/rapport/followup", session(session_id, tape.now), because=came)


def unheard(tape: Tape) -> None:
    tape.say("/portal", clinical.SessionRecorded(session_id="s-2", held_at=tape.now))


def another_plan(tape: Tape) -> None:
    tape.say("/rapport/followup", plan("p-2", tape.now))


def waiting_twice(tape: Tape) -> None:
    for _ in range(2):
        tape.say("/rapport/matching", matching.WaitingStarted(reason="no-place"))


def lane_turned_round(tape: Tape) -> None:
    """Two sessions of one client are said in one order and recorded in the other."""
    first, second = (
        tape.say("/portal", clinical.SessionRecorded(session_id=name, held_at=tape.now)) for name in ("s-2", "s-3")
    )
    tape.say("/rapport/followup", session("s-3", tape.now), because=second)
    tape.say("/rapport/followup", session("s-2", tape.now), because=first)


def over_capacity(tape: Tape) -> None:
    tape.say("/rapport/matching", match_offered("o-2", tape.now, seat=2, counter=2, capacity=1), subject="other")


def seat_taken_twice(tape: Tape) -> None:
    tape.say("/rapport/matching", match_offered("o-2", tape.now, seat=1, counter=2, capacity=5), subject="other")


def counter_jumps(tape: Tape) -> None:
    tape.say("/rapport/matching", match_offered("o-2", tape.now, seat=2, counter=4, capacity=5), subject="other")


def freed_by_another(tape: Tape) -> None:
    freed = matching.PlaceFreed(therapist_id="t-1", seat=1, counter=2, reason="declined")
    tape.say("/rapport/matching", freed, subject="other")


def expired_too_early(tape: Tape) -> None:
    tape.say("/rapport/matching", match_offered("o-2", tape.now, seat=2, counter=2, capacity=5), subject="other")
    tape.say("/rapport/matching", matching.MatchExpired(offer_id="o-2", therapist_id="t-1"), subject="other")


def expired_although_answered(tape: Tape) -> None:
    tape.say("/rapport/matching", match_offered("o-2", tape.now, seat=2, counter=2, capacity=5), subject="other")
    tape.say("/portal", clinical.OfferAnswered(offer_id="o-2", answer="accepted"), subject="other")
    tape.now += timedelta(hours=2)
    tape.say("/rapport/matching", matching.MatchExpired(offer_id="o-2", therapist_id="t-1"), subject="other")


def never_expired(tape: Tape) -> None:
    tape.say("/rapport/matching", match_offered("o-2", tape.now, seat=2, counter=2, capacity=5), subject="other")


def overdue(tape: Tape) -> None:
    due = tape.records[tape.find(followup.PlanActivated)].said[1]
    assert isinstance(due, followup.PlanActivated)
    for number in range(2):
        said = followup.SessionOverdue(due=due.first_session_due - timedelta(minutes=2))
        tape.say("/rapport/followup", said, because=f"timer-{number}")


def overdue_too_early(tape: Tape) -> None:
    tape.say("/rapport/followup", followup.SessionOverdue(due=tape.now + timedelta(minutes=5)))


def reminded_twice(tape: Tape) -> None:
    for _ in range(2):
        said = followup.ReminderDue(about="next-session", silent_since=tape.now)
        tape.say("/rapport/followup", said, because="timer")


def handoff_overdue_too_early(tape: Tape) -> None:
    said = matching.HandoffOverdue(handoff_id="h-2", giver="matching", receiver="followup", attempt=1)
    tape.say("/rapport/matching", said)


def gap_found(tape: Tape) -> None:
    tape.say("/rapport/oversight", oversight.GapFound(event_source="/rapport/intake", first=3, last=4))


def differs(tape: Tape, resolved: bool = False) -> None:
    found = {"event_source": "/rapport/intake", "topic": "intake.events.v1", "partition": 3, "problem": "differs", "claimed": 3}
    failed = oversight.ReconciliationFailed.model_validate({**found, "last_id": "e-1", "resolved": resolved})
    tape.say("/rapport/oversight", failed, subject="/rapport/intake")


def miscounted(tape: Tape) -> None:
    tape.change(OutboxPosition, shards=(shard(tape).model_copy(update={"count": 99}),))


def counted_others(tape: Tape) -> None:
    tape.change(OutboxPosition, shards=(shard(tape).model_copy(update={"digest": "0" * 16}),))


def shard(tape: Tape) -> ShardPosition:
    said = tape.records[tape.find(OutboxPosition)].said[1]
    assert isinstance(said, OutboxPosition)
    return said.shards[0]


@pytest.mark.parametrize(
    ("doctor", "promise", "says"),
    [
        (cut_off, "each referral ends", f"{CLAIM} was acknowledged and never answered"),
        (lambda t: t.drop(intake.EpisodeOpened), "each referral ends", f"{CLAIM} has 0 episodes"),
        (lambda t: t.again(intake.EpisodeOpened, id="x", sequence=5), "each referral ends", f"{CLAIM} has 2 episodes"),
        (lambda t: t.drop(followup.PlanActivated), "each referral ends", "neither in follow-up nor waiting"),
        (lambda t: t.say("/rapport/followup", followup.PlanStoodDown(plan_id="p-1", handoff_id="h-2")), "each referral ends",
         "neither in follow-up nor waiting"),
        (unheard, "everything said is heard", "SessionRecorded was said, and nobody answered"),
        (lambda t: t.again(intake.ReferralAccepted, id="x", sequence=5), "each effect once", "referral answered more"),
        (lambda t: t.again(matching.MatchAccepted, id="x", sequence=6), "each effect once", "offer ended more than once"),
        (lambda t: t.again(followup.PlanActivated, id="x", sequence=4), "each effect once", "plan activated more than once"),
        (session_twice, "each effect once", "one cause had two effects of a kind"),
        (another_plan, "each effect once", "a second active plan"),
        (waiting_twice, "each effect once", "waiting that began twice"),
        (lambda t: t.again(intake.EpisodeOpened, custodian="other"), "each effect once", "one id stands for two events"),
        (lambda t: t.drop(matching.MatchOffered), "sequences contiguous", "number 3 of /rapport/matching"),
        (lambda t: t.change(matching.MatchAccepted, sequence=3), "sequences contiguous", "was given twice"),
        (lambda t: t.swap(matching.MatchOffered, matching.MatchAccepted), "order kept", "a later event came first"),
        (lane_turned_round, "order kept", "effects are not in the order of their causes"),
        (over_capacity, "capacity never exceeded", "t-1: 2 places held of 1"),
        (seat_taken_twice, "capacity never exceeded", "t-1: seat 1 is held twice"),
        (counter_jumps, "capacity never exceeded", "t-1: counter 4 where 2 was next"),
        (freed_by_another, "capacity never exceeded", "t-1: seat 1 was freed by who did not hold it"),
        (lambda t: t.drop(intake.HandoffAccepted), "exactly one custodian", "not-custodian"),
        (lambda t: t.drop(matching.HandoffAccepted), "exactly one custodian", "unconfirmed"),
        (hand_over_twice, "exactly one custodian", "two"),
        (lambda t: t.park("matching", "clinical.inbound.v1|0|0"), "nothing parked unexplained", "@0 was parked: unknown"),
        (miscounted, "outboxes drained", "99 events were said"),
        (counted_others, "outboxes drained", "4 are there, others"),
        (lambda t: t.drop(intake.ReferralAccepted), "outboxes drained", "4 events were said up to e-6, 3 are there"),
        (lambda t: t.drop(handoff.HandoffAccepted), "outboxes drained", "the newest event counted, e-6, is not there"),
        (another_plan, "outboxes drained", "1 events of followup.events.v1 are in no position"),
        (gap_found, "ledger complete", "/rapport/oversight misses 3–4 of /rapport/intake"),
        (differs, "ledger complete", "intake.events.v1[3] is not what was said: differs"),
        (expired_too_early, "timers fire once", "an offer expired before its deadline"),
        (expired_although_answered, "timers fire once", "an offer expired although it was answered in time"),
        (never_expired, "timers fire once", "an offer was neither answered nor did it expire"),
        (handoff_overdue_too_early, "timers fire once", "a handoff was overdue before its deadline"),
        (overdue, "timers fire once", "a first session was overdue twice"),
        (overdue_too_early, "timers fire once", "a first session was overdue before it was due"),
        (lambda t: t.drop(followup.SessionRecorded), "timers fire once", "a first session was overdue, and nobody said so"),
        (reminded_twice, "timers fire once", "one timer reminded twice"),
    ],
)  # fmt: skip
def test_a_broken_promise_is_named_with_its_witnesses(doctor: Doctor, promise: str, says: str) -> None:
    tape = whole_journey()
    doctor(tape)
    found = broken(check(tape.history(), tape.told()))
    assert says in found[promise]


def test_a_witness_has_a_place_and_an_id() -> None:
    tape = whole_journey()
    tape.again(followup.PlanActivated, id="second", sequence=4)
    [violation, *_] = [v for one in check(tape.history(), tape.told()) for v in one.violations]
    assert [witness.partition(" /rapport")[0] for witness in violation.witnesses] == [
        "followup.events.v1[0]@1", "followup.events.v1[0]@4"
    ]  # fmt: skip
    assert "id second because of" in violation.witnesses[1]


def test_an_event_that_the_ledger_does_not_show_is_missing() -> None:
    tape = whole_journey()
    told = tape.told()
    shown = {EPISODE: frozenset(claim for claim in told.shown[EPISODE] if claim[0] != "/rapport/matching")}
    found = broken(check(tape.history(), replace(told, shown=shown)))
    assert list(found) == ["ledger complete"]
    assert "6 events of episode" in found["ledger complete"]


def test_what_oversight_missed_and_then_found_is_no_violation() -> None:
    tape = whole_journey()
    for closed in (False, True):
        tape.say("/rapport/oversight", oversight.GapFound(event_source="/rapport/intake", first=3, last=4, closed=closed))
        differs(tape, resolved=closed)
    tape.count()
    assert broken(check(tape.history(), tape.told())) == {}


def poisoned(tape: Tape, poison: Poison) -> Told:
    return replace(tape.told(), poison={"p-1": poison})


def test_poison_that_is_parked_by_who_reads_it_is_explained() -> None:
    tape = whole_journey()
    tape.say("/portal", clinical.ChoiceMade(therapist_id="nobody"), mark="p-1")
    tape.park("matching", "clinical.inbound.v1|0|3")
    assert broken(check(tape.history(), poisoned(tape, Poison("bad", frozenset({"matching"}))))) == {}


def test_poison_that_nobody_parked_is_named() -> None:
    tape = whole_journey()
    tape.say("/portal", clinical.ChoiceMade(therapist_id="nobody"), mark="p-1")
    found = broken(check(tape.history(), poisoned(tape, Poison("bad", frozenset({"matching"})))))
    assert found["nothing parked unexplained"].endswith("clinical.inbound.v1[0]@3 was parked by nobody, not by matching")


def test_poison_that_was_not_answered_is_named() -> None:
    tape = whole_journey()
    cause = tape.say("/portal", clinical.SessionRecorded(session_id="s-9", held_at=START), mark="p-1")
    poison = Poison("bad", answered=(followup.SessionRefused, cause))
    found = broken(check(tape.history(), poisoned(tape, poison)))
    assert "not answered by SessionRefused" in found["nothing parked unexplained"]
    tape.say("/rapport/followup", followup.SessionRefused(session_id="s-9", reason="in-the-future"), because=cause)
    tape.count()
    assert broken(check(tape.history(), poisoned(tape, poison))) == {}


def test_without_positions_or_a_ledger_it_says_that_these_were_not_checked() -> None:
    tape = whole_journey()
    tape.records = [record for record in tape.records if not isinstance(record.said[1], OutboxPosition)]
    checked = check(tape.history(), replace(tape.told(), shown={}, ledger=None))
    skipped = {one.promise for one in checked if one.skipped}
    assert skipped == {"outboxes drained", "ledger complete", "ledger unchanged"}


def test_what_the_ledger_s_own_checks_find_is_a_violation() -> None:
    tape = whole_journey()
    told = replace(tape.told(), ledger=Verified(8, ("leaf: entry 3 is not what was signed",)))
    assert broken(check(tape.history(), told)) == {"ledger unchanged": "ledger unchanged: leaf: entry 3 is not what was signed"}
