"""What `rapport watch` shows is the same for every order in which events are found."""

import random
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from tests.support.journeys import Journey, whole_journey

from cli.events.flow import Flow
from contracts import intake, matching
from contracts.custody import Recorded
from contracts.envelope import Envelope
from contracts.parked import RecordParked
from contracts.topics import OWNED

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TOPICS = {source: topic for topic, source in OWNED.items()}


def flow_of(events: list[Recorded]) -> Flow:
    flow = Flow()
    for envelope, event in events:
        flow.apply(TOPICS[envelope.source], envelope, event, NOW)
    return flow


@given(st.integers())
def test_a_client_stands_where_the_furthest_service_says_in_any_order(seed: int) -> None:
    events = whole_journey().events
    random.Random(seed).shuffle(events)
    flow = flow_of(events)
    assert flow.standings() == {"in follow-up": 1}
    assert flow.late(NOW) == []


def test_a_client_who_waits_and_then_goes_on_waits_no_more() -> None:
    journey = Journey()
    journey.intake()
    journey.say("matching", matching.WaitingStarted(reason="no-place"))
    assert flow_of(journey.events).standings() == {"waiting for a place": 1}
    journey.say("matching", matching.WaitingEnded())
    assert flow_of(journey.events[::-1]).standings() == {"with matching": 1}


def test_a_repeated_referral_that_is_refused_does_not_undo_the_episode() -> None:
    journey = Journey()
    journey.intake()
    refused = intake.ReferralRefused(assigner="a", identifier="b", referral_source="/h", referral_id="1", reason="amended")
    journey.say("intake", refused)
    assert flow_of(journey.events).standings() == {"opened": 1}


def test_a_handoff_past_its_deadline_is_late_until_it_is_closed() -> None:
    journey = Journey()
    arbiter = journey.intake()
    arbiter.offer("matching")
    ((_, offer),) = flow_of(journey.events).late(NOW)
    assert offer.receiver == "matching"
    arbiter.overdue()
    flow = flow_of(journey.events)
    assert [one.receiver for _, one in flow.late(NOW)] == ["duty-manager"]
    assert flow.overdue() == 1


def test_rates_count_the_last_ten_seconds_only() -> None:
    flow = flow_of(whole_journey().events)
    later = NOW + timedelta(seconds=5)
    flow.apply(TOPICS["/rapport/intake"], *whole_journey().events[0], later)
    assert flow.rates(later)["intake.events.v1", "/rapport/intake"] == 0.4
    assert flow.rates(later + timedelta(seconds=6))["intake.events.v1", "/rapport/intake"] == 0.1


def test_a_parked_record_announced_twice_counts_once() -> None:
    parked = RecordParked(topic="clinical.inbound.v1", partition=0, offset=1, reason="unknown-type", size=1, digest="00")
    envelope = Envelope(id="1", source="/rapport/matching", type=parked.type, time=NOW, subject="clinical.inbound.v1/0/1")
    flow = Flow()
    for _ in range(2):
        flow.apply("matching.parked.v1", envelope, parked, NOW)
    assert list(flow.parked.values()) == ["unknown-type"]
