"""Each effect once: one cause, one effect; one opening, one verdict, one ending, one answer, one plan."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator
from itertools import pairwise

from tests.faults.history import History, Said, Told
from tests.faults.verdict import Checked

from contracts import followup, handoff, intake, matching
from contracts.event import Event
from contracts.parked import RecordParked
from contracts.topics import OWNED

Key = Callable[[Said], Hashable]

# What may be said once for each key, whoever says it.
KEYS: tuple[tuple[str, tuple[type[Event], ...], Key], ...] = (
    ("episode opened", (intake.EpisodeOpened,), lambda s: s.subject),
    (
        "referral answered", (intake.ReferralAccepted, intake.ReferralRefused),
        lambda s: (s.event.referral_source, s.event.referral_id),
    ),
    ("handoff offered", (handoff.HandoffOffered,), lambda s: s.event.handoff_id),
    (
        "handoff judged", (handoff.HandoffAccepted, handoff.HandoffDeclined, handoff.HandoffOverdue),
        lambda s: s.event.handoff_id,
    ),
    ("handoff escalated", (handoff.HandoffEscalated,), lambda s: s.event.handoff_id),
    (
        "handoff answered by a service", (matching.HandoffAnswered, followup.HandoffAnswered),
        lambda s: (s.envelope.source, s.event.handoff_id),
    ),
    ("match offered", (matching.MatchOffered,), lambda s: s.event.offer_id),
    ("offer ended", (matching.MatchAccepted, matching.MatchDeclined, matching.MatchExpired), lambda s: s.event.offer_id),
    (
        "therapist's counter moved", (matching.MatchOffered, matching.PlaceFreed),
        lambda s: (s.event.therapist_id, s.event.counter),
    ),
    ("plan activated", (followup.PlanActivated,), lambda s: s.event.plan_id),
    ("plan given up", (followup.PlanStoodDown,), lambda s: s.event.plan_id),
    ("session recorded", (followup.SessionRecorded,), lambda s: (s.subject, s.event.session_id)),
    ("alliance recorded", (followup.AllianceChecked,), lambda s: (s.subject, s.event.session_id, s.event.rater)),
    ("first session overdue", (followup.SessionOverdue,), lambda s: (s.subject, s.event.due)),
    ("reminder of one timer", (followup.ReminderDue,), lambda s: (s.subject, s.envelope.causationid)),
    (
        "record parked", (RecordParked,),
        lambda s: (s.place.topic, s.event.topic, s.event.partition, s.event.offset),
    ),
)  # fmt: skip

# What a decision says at once, never a timer that it set: one of them for each cause.
DIRECT = (
    intake.ReferralAccepted, intake.ReferralRefused, intake.EpisodeOpened, intake.HandoffAccepted, intake.HandoffDeclined,
    intake.HandoffSuperseded, matching.HandoffAnswered, matching.ChoiceRefused, matching.AnswerRefused, matching.MatchAccepted,
    matching.MatchDeclined, matching.HandoffAccepted, matching.HandoffDeclined, matching.HandoffSuperseded,
    followup.HandoffAnswered, followup.PlanActivated, followup.PlanStoodDown, followup.SessionRecorded,
    followup.AllianceChecked, followup.SessionRefused,
)  # fmt: skip


def check(history: History, told: Told) -> Checked:
    """Doubled effects, and events that came again as others."""
    checked = Checked("each effect once")
    for name, kinds, key in KEYS:
        _once(checked, f"{name} more than once", history.all(*kinds), key)
    direct = [one for one in history.all(*DIRECT) if one.envelope.causationid]
    _once(checked, "one cause had two effects of a kind", direct, lambda s: (type(s.event), s.subject, s.envelope.causationid))
    _alternating(checked, history)
    _same_again(checked, history)
    return checked


def _once(checked: Checked, text: str, said: list[Said], key: Key) -> None:
    groups: dict[Hashable, list[Said]] = defaultdict(list)
    for one in said:
        groups[key(one)].append(one)
    checked.items += len(groups)
    for group in groups.values():
        if len(group) > 1:
            checked.broken(text, group)


def _alternating(checked: Checked, history: History) -> None:
    """A plan begins when none is active; waiting begins when nobody waits, or when matching began anew."""
    pairs = (
        ("a second active plan", followup.PlanActivated, (followup.PlanStoodDown,)),
        ("waiting that began twice", matching.WaitingStarted, (matching.WaitingEnded, matching.HandoffAnswered)),
    )
    for text, begins, ends in pairs:
        for said in _by_subject(history.all(begins, *ends)):
            for before, after in pairwise(said):
                if isinstance(before.event, begins) and isinstance(after.event, begins):
                    checked.broken(text, (before, after))


def _by_subject(said: list[Said]) -> Iterator[list[Said]]:
    groups: dict[str, list[Said]] = defaultdict(list)
    for one in said:
        groups[one.subject].append(one)
    for group in groups.values():
        yield sorted(group, key=lambda one: one.envelope.sequence or 0)


def _same_again(checked: Checked, history: History) -> None:
    """What a relay repeats is the same event at the same partition."""
    for repeated in history.again:
        first = history.places[repeated.claim]
        if repeated.place.topic not in OWNED:
            continue
        checked.items += 1
        if repeated.digest != first.digest or repeated.place[:2] != first.place[:2]:
            checked.broken("one id stands for two events", (first, repeated))
