"""Whatever clients, therapists and clocks do in whatever order: no place too many, and none given back twice."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts import intake
from contracts.matching import MatchOffered, PlaceFreed
from matching import handlers
from messaging.decision import Decision, DueTimer

EPISODES, THERAPISTS = ("e-0", "e-1", "e-2", "e-3", "e-4"), ("t-0", "t-1", "t-2")
MOVES = ("begin", "begin-anew", "choose", "accept", "decline", "expire", "retry", "supersede")

moves = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(EPISODES), st.sampled_from(MOVES)),
        st.tuples(st.sampled_from(THERAPISTS), st.integers(min_value=0, max_value=3)),
    ),
    max_size=60,
)


def move(journey: Any, what: Any, n: Any) -> None:
    match = journey.match
    if what.startswith("begin"):
        journey.begin(handoff_id="h-1" if what == "begin" else f"h-{n}")
    elif match is None:
        return
    elif what == "choose":
        journey.choose("any")
    elif what in ("accept", "decline"):
        journey.answer(f"{what}ed".replace("ee", "e"), match.offer.id if match.offer else "none")
    elif what == "expire":
        due = match.offer.deadline if match.offer else journey.now
        journey.tell(handlers.on_offer_expired, DueTimer("offer-expires", due))
    elif what == "retry":
        journey.tell(handlers.on_waiting_retry, DueTimer("waiting-retry", journey.now))
    else:
        late = intake.HandoffSuperseded(handoff_id=match.handoff_id, answered_by="matching", current=None)
        journey.tell(handlers.on_handoff_superseded, late)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=moves)
def test_never_more_places_than_the_capacity_at_taking_and_each_freed_at_most_once(
    moves: Any, journey: Any, listing: Any
) -> None:
    directory = journey(**{t: listing(capacity=1) for t in THERAPISTS}).directory
    journeys = {episode: journey(episode) for episode in EPISODES}
    held: dict[Any, Any] = {}
    counters = dict.fromkeys(THERAPISTS, 0)
    for n, (who, what) in enumerate(moves):
        if who in THERAPISTS:
            directory = directory.with_listings({who: listing(version=n + 2, capacity=what)})
            continue
        one = journeys[who]
        one.directory, one.said = directory, []
        move(one, what, n)
        directory = one.directory
        check_record(one, held, counters, directory)
        assert (one.match is not None and one.match.offer is not None) == (who in {e for e, _ in held.values()})


def check_record(one: Any, held: Any, counters: Any, directory: Any) -> None:
    """Only what was published counts: whoever reads the record alone can check it."""
    if not isinstance(one.last, Decision):
        return
    for event in one.said:
        if not isinstance(event, MatchOffered | PlaceFreed):
            continue
        seat = (event.therapist_id, event.seat)
        counters[event.therapist_id] += 1
        assert event.counter == counters[event.therapist_id]
        if isinstance(event, PlaceFreed):
            assert held.pop(seat)[0] == one.episode
            continue
        assert seat not in held
        assert event.seat <= event.capacity == directory.index.listings[event.therapist_id].capacity
        held[seat] = (one.episode, event.counter)
        assert sum(therapist == event.therapist_id for therapist, _ in held) <= event.capacity
