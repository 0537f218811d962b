"""Codes shared by several events: the need of a client, urgency, levels of care, and the reasons people see.

Levels of care are generic and ordered, named without any licensed instrument's text.
"""

import uuid
from datetime import date
from typing import Literal

from pydantic import Field

from contracts.event import Part

ProblemArea = Literal[
    "anxiety", "depression", "trauma", "psychosis", "bipolar", "eating", "substance-use", "family", "grief", "crisis",
    "unspecified",
]  # fmt: skip
LevelOfCare = Literal[
    "crisis", "withdrawal-management", "inpatient", "residential", "partial-hospitalisation", "intensive-outpatient",
    "outpatient", "recovery-support",
]  # fmt: skip
AgeBand = Literal["child", "adolescent", "adult", "older-adult"]
Modality = Literal["in-person", "video", "phone", "any"]
Urgency = Literal["emergency", "urgent", "routine"]
Answer = Literal["accepted", "declined"]
Arbiter = Literal["intake", "matching"]

Code = Field(min_length=1, max_length=120, pattern=r"^[\w .:/@+-]+$")

_EPISODES = uuid.uuid5(uuid.NAMESPACE_URL, "rapport:episode")
_ADULT, _OLDER, _ADOLESCENT = 18, 65, 13


class Preferences(Part):
    """What the client asked for; wishes, honoured in the ranking, never imposed as filters."""

    therapist_gender: Literal["female", "male", "nonbinary"] | None = None
    approach: str | None = Field(default=None, max_length=60, pattern=r"^[a-z][a-z0-9-]*$")
    times: tuple[Literal["morning", "afternoon", "evening", "weekend"], ...] = ()


class Need(Part):
    """What the client needs, in codes: everything matching may know, and nothing that names the client."""

    problem_area: ProblemArea
    level_of_care: LevelOfCare = "outpatient"
    age_band: AgeBand
    language: str = Field(default="en", pattern=r"^[a-z]{2,3}$", description="ISO 639 code")
    place: str = Field(default="unspecified", max_length=40, pattern=r"^[A-Za-z0-9-]+$", description="region or state code")
    modality: Modality = "any"
    payer: str = Field(default="self-pay", max_length=40, pattern=r"^[a-z0-9-]+$")
    urgency: Urgency = "routine"
    preferences: Preferences = Preferences()


def episode_id(assigner: str, identifier: str) -> str:
    """The episode of a referral, derived (UUIDv5), so that the same referral through two doors is one episode."""
    return str(uuid.uuid5(_EPISODES, f"{len(assigner)}:{assigner}|{identifier}"))


def age_band(birth_date: date, on: date) -> AgeBand:
    """The band of an age in whole years on a day: child under 13, adolescent under 18, adult under 65."""
    years = on.year - birth_date.year - ((on.month, on.day) < (birth_date.month, birth_date.day))
    if years < _ADOLESCENT:
        return "child"
    if years < _ADULT:
        return "adolescent"
    return "adult" if years < _OLDER else "older-adult"
