"""Nothing is parked that nobody poisoned, and every poison is accounted for."""

from collections import defaultdict

from tests.faults.history import Claim, History, Place, Poison, Said, Told
from tests.faults.verdict import Checked

from contracts import intake
from contracts.parked import RecordParked


def check(history: History, told: Told) -> Checked:
    """Each poison parked, refused or taken as it should be, by exactly who reads it."""
    checked = Checked("nothing parked unexplained")
    parked: dict[Place, dict[str, Said]] = defaultdict(dict)
    for one in history.all(RecordParked):
        place = Place(one.event.topic, one.event.partition, one.event.offset)
        parked[place][one.place.topic.partition(".")[0]] = one
        checked.items += 1
        if place not in told.poison:
            checked.broken(f"{place} was parked: {one.event.reason} {one.event.path or ''}".rstrip(), [one])
    answers = {
        (one.event.referral_source, one.event.referral_id): one
        for one in history.all(intake.ReferralAccepted, intake.ReferralRefused)
    }
    for place, poison in told.poison.items():
        checked.items += 1
        _account(checked, place, poison, parked.get(place, {}), answers)
    return checked


def _account(
    checked: Checked, place: Place, poison: Poison, parked: dict[str, Said], answers: dict[Claim, Said]
) -> None:  # fmt: skip
    if set(parked) != poison.parked_by:
        who, should = ", ".join(sorted(parked)) or "nobody", ", ".join(sorted(poison.parked_by)) or "nobody"
        checked.broken(f"poison {poison.kind} at {place} was parked by {who}, not by {should}", parked.values())
    for claim, wanted in ((poison.answered, intake.ReferralRefused), (poison.taken, intake.ReferralAccepted)):
        answer = answers.get(claim) if claim else None
        if claim and not (answer and isinstance(answer.event, wanted)):
            checked.broken(f"poison {poison.kind} at {place} has no {wanted.__name__}", [answer] if answer else [])
