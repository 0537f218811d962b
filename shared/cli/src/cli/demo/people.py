"""Invented therapists and clients, the same for the same seed; the needs are such that most find a place."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal, get_args

from contracts.referral import ClientIdentity, ConsentBasis, ReferralSubmitted, RequestedNeed
from contracts.therapist import TherapistListed
from contracts.vocabulary import ProblemArea

Door = Literal["kafka", "http", "fhir"]
Part = Literal["plain", "emergency", "silent-desk", "declined", "expired", "nobody-speaks-it", "no-consent", "late"]

ASSIGNER = "demo-hospital"
RARE_LANGUAGE = "eo"
_AREAS = tuple(area for area in get_args(ProblemArea) if area not in ("crisis", "unspecified", "substance-use"))
_PLACES = ("NY", "NJ", "CT")
_EVERYWHERE = (
    "AL", "AK", "AZ", "AR", "CA", "CO", "CT", "DE", "FL", "GA", "HI", "ID", "IL", "IN",
    "IA", "KS", "KY", "LA", "ME", "MD", "MA", "MI", "MN", "MS", "MO", "MT", "NE", "NV",
    "NH", "NJ", "NM", "NY", "NC", "ND", "OH", "OK", "OR", "PA", "RI", "SC", "SD", "TN",
    "TX", "UT", "VT", "VA", "WA", "WV", "WI", "WY", "DC", "PR", "unspecified",
)  # fmt: skip
_FAMILY = ("Abara", "Brandt", "Castro", "Dubois", "Eriksen", "Farouk", "Garcia", "Haddad", "Ivanova", "Jensen")
_GIVEN = ("Alex", "Bo", "Chris", "Dana", "Eli", "Fran", "Gale", "Hari", "Inez", "Jo")


@dataclass(frozen=True, slots=True)
class Person:
    """One client to be referred: the part played in the demo, the door taken, and the referral."""

    number: int
    part: Part
    door: Door
    referral: ReferralSubmitted


def therapists(count: int, seed: int, capacity: int = 3) -> Iterator[tuple[str, TherapistListed]]:
    """Therapist ids with their listings; every area, age band, place and payer is covered once there are about twenty."""
    rng = random.Random(seed)  # noqa: S311
    for number in range(count):
        areas = {_AREAS[number % len(_AREAS)], *rng.sample(_AREAS, 3), "substance-use", "unspecified", "crisis"}
        yield (
            f"therapist-{number:04d}",
            TherapistListed(
                version=1,
                capacity=capacity,
                problem_areas=tuple(sorted(areas)),
                levels_of_care=("outpatient", "intensive-outpatient", "recovery-support"),
                age_bands=("child", "adolescent", "adult", "older-adult"),
                languages=("en", rng.choice(("es", "zh", "fr"))),
                places=_EVERYWHERE if number % 4 == 0 else _PLACES,
                modalities=("in-person", "video", "phone"),
                payers=("self-pay", "medicaid", "blue-plan"),
                gender=rng.choice(("female", "male", "nonbinary")),
                approaches=tuple(rng.sample(("cbt", "act", "emdr", "psychodynamic"), 2)),
                times=("morning", "afternoon", "evening"),
            ),
        )


def clients(count: int, seed: int) -> Iterator[Person]:
    """Referrals over all three doors; from fifteen on, each part of the demo is played by somebody."""
    rng = random.Random(seed + 1)  # noqa: S311
    doors: tuple[Door, ...] = ("kafka", "http", "fhir")
    for number in range(count):
        part = _part(number, count)
        door: Door = "kafka" if part in ("no-consent", "late") else doors[number % 3]
        yield Person(number, part, door, _referral(f"R-{seed}-{number:06d}", part, rng))


def plain_referrals(count: int, seed: int, prefix: str) -> Iterator[ReferralSubmitted]:
    """Referrals without any part to play, for a load."""
    rng = random.Random(seed)  # noqa: S311
    for number in range(count):
        yield _referral(f"{prefix}-{number:06d}", "plain", rng)


def _part(number: int, count: int) -> Part:
    waiting, refused = max(1, round(count * 0.035)), max(1, round(count * 0.025))
    if number >= count - waiting:
        return "nobody-speaks-it"
    if number >= count - waiting - refused:
        return "late" if number % 3 == 0 else "no-consent"
    special: dict[int, Part] = {3: "emergency", 4: "silent-desk", 5: "declined", 7: "expired"}
    return special.get(number % 50, "plain")


def _referral(identifier: str, part: Part, rng: random.Random) -> ReferralSubmitted:
    born = date(1940, 1, 1) + timedelta(days=rng.randrange(28_000))
    number = rng.randrange(10**8)
    return ReferralSubmitted(
        assigner=ASSIGNER,
        identifier=identifier,
        client=ClientIdentity(
            record_number=f"MRN-{number:08d}",
            family_name=rng.choice(_FAMILY),
            given_name=rng.choice(_GIVEN),
            birth_date=born,
            phone=f"+1-555-{number % 10**7:07d}",
        ),
        need=RequestedNeed(
            problem_area=rng.choice(_AREAS),
            language=RARE_LANGUAGE if part == "nobody-speaks-it" else "en",
            place=rng.choice(_PLACES),
            modality=rng.choice(("in-person", "video", "any")),
            payer=rng.choice(("self-pay", "medicaid", "blue-plan")),
            urgency="emergency" if part in ("emergency", "silent-desk") else rng.choice(("routine", "routine", "urgent")),
        ),
        consent=None if part == "no-consent" else ConsentBasis(kind="written-consent"),
        respond_by=datetime(2020, 1, 1, tzinfo=UTC) if part == "late" else None,
        note="Prefers a call in the afternoon.",
    )
