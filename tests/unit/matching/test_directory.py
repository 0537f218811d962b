"""Who is shown to a client, in which order and why."""

from collections import Counter
from typing import Any

import pytest

from matching.domain.listing import Need, Preferences
from matching.domain.places import FreePlace, TakePlace

ADULT = {
    "problem_area": "anxiety", "level_of_care": "outpatient", "age_band": "adult", "language": "en", "place": "WA",
    "modality": "video", "payer": "aetna", "urgency": "routine",
}  # fmt: skip


def need(**changes: Any) -> Any:
    return Need(**(ADULT | changes))


def ids(shortlist: Any) -> Any:
    return [candidate.therapist_id for candidate in shortlist]


@pytest.mark.parametrize(
    "lacks",
    [
        {"problem_areas": ("grief",)}, {"levels_of_care": ("inpatient",)}, {"age_bands": ("child",)}, {"languages": ("es",)},
        {"places": ("OR",)}, {"modalities": ("phone",)}, {"payers": ("self-pay",)}, {"accepting": False}, {"capacity": 0},
    ],
)  # fmt: skip
def test_whoever_lacks_one_requirement_is_not_shown(lacks: Any, directory: Any, listing: Any) -> None:
    assert ids(directory(fits=listing(), lacks=listing(**lacks)).shortlist(need(), "e")) == ["fits"]


def test_what_the_client_leaves_open_is_asked_of_nobody(directory: Any, listing: Any) -> None:
    open_need = need(problem_area="unspecified", place="unspecified", modality="any")
    assert ids(directory(t=listing(problem_areas=(), places=(), modalities=())).shortlist(open_need, "e")) == ["t"]


def test_a_preference_ranks_and_never_excludes(directory: Any, listing: Any) -> None:
    wishes = need(preferences=Preferences(therapist_gender="female", times=("evening", "weekend"), approach="cbt"))
    listed = directory(
        other=listing(),
        gender=listing(gender="female"),
        both=listing(gender="female", times=("weekend",)),
        approach=listing(approaches=("cbt",), gender="male"),
    )
    assert ids(listed.shortlist(wishes, "e")) == ["both", "gender", "approach"]
    assert ids(listed.shortlist(wishes, "e", without=("both", "gender"))) == ["approach", "other"]


def test_a_met_gender_outweighs_any_load_and_a_met_approach_does_not(directory: Any, listing: Any, full: Any) -> None:
    nearly = directory(busy=listing(capacity=20, gender="female", approaches=("cbt",)), idle=listing(capacity=20))
    nearly = nearly.after([TakePlace("busy", n, n, f"o-{n}", 20) for n in range(1, 20)])
    assert ids(nearly.shortlist(need(preferences=Preferences(therapist_gender="female")), "e")) == ["busy", "idle"]
    assert ids(nearly.shortlist(need(preferences=Preferences(approach="cbt")), "e")) == ["idle", "busy"]


def test_every_point_has_a_reason(directory: Any, listing: Any) -> None:
    wishes = need(preferences=Preferences("female", "cbt", ("morning",)))
    listed = directory(t=listing(gender="female", approaches=("cbt",), times=("morning",), capacity=3))
    (candidate,) = listed.after([TakePlace("t", 1, 1, "other", 3)]).shortlist(wishes, "e")
    assert [(r.code, r.points) for r in candidate.reasons] == [
        ("preferred-gender", 30), ("preferred-time", 30), ("preferred-approach", 15), ("places-free", 13),
    ]  # fmt: skip
    assert candidate.points == sum(reason.points for reason in candidate.reasons)


def test_equals_are_spread_over_clients_and_the_same_again_for_one_client(directory: Any, listing: Any) -> None:
    equals = directory(**{f"t-{n}": listing() for n in range(20)})
    firsts = Counter(ids(equals.shortlist(need(), f"episode-{n}"))[0] for n in range(2_000))
    assert len(firsts) == 20
    assert max(firsts.values()) < 2 * min(firsts.values())
    assert equals.shortlist(need(), "episode-1") == equals.shortlist(need(), "episode-1")


def test_later_decisions_see_the_places_that_earlier_ones_took_and_freed(directory: Any, listing: Any) -> None:
    one = directory(t=listing(capacity=1))
    place = one.place(need(), "t", "e-1")
    assert place == TakePlace("t", 1, 1, "e-1", 1)
    taken = one.after([place])
    assert taken.place(need(), "t", "e-2") is None
    assert taken.shortlist(need(), "e-2") == ()
    freed = taken.after([taken.giving_back("t", 1, "e-1")])
    assert freed.place(need(), "t", "e-2") == TakePlace("t", 1, 3, "e-2", 1)
    assert one.place(need(), "t", "e-2") == TakePlace("t", 1, 1, "e-2", 1)


def test_after_a_lowered_capacity_nothing_is_free_until_fewer_are_held(directory: Any, listing: Any, full: Any) -> None:
    lowered = full(directory(t=listing(capacity=4)), "t").with_listings({"t": listing(version=2, capacity=2)})
    held = lowered.after([FreePlace("t", 1, 5, "other-1"), FreePlace("t", 2, 6, "other-2")])
    assert held.place(need(), "t", "e") is None
    assert held.after([FreePlace("t", 4, 7, "other-4")]).place(need(), "t", "e") == TakePlace("t", 1, 8, "e", 2)


def test_nobody_listed_is_nobody_found(directory: Any) -> None:
    assert directory().shortlist(need(), "e") == ()
    assert not directory().qualifies_anyone(need(), ())
