"""Codes shared by several events: the need of a client, urgency, levels of care, and the reasons people see.

Levels of care are generic and ordered, named without any licensed instrument's text.
"""

import uuid
from datetime import UTC, date, datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

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
Gender = Literal["female", "male", "nonbinary"]
PartOfWeek = Literal["morning", "afternoon", "evening", "weekend"]
Urgency = Literal["emergency", "urgent", "routine"]
Answer = Literal["accepted", "declined"]
Arbiter = Literal["intake", "matching"]

Instant = Annotated[AwareDatetime, Field(ge=datetime(1900, 1, 1, tzinfo=UTC), lt=datetime(2200, 1, 1, tzinfo=UTC))]
PRINTABLE = r"^[^\x00-\x1f\x7f]*$"
CODE = r"^[a-z0-9-]+$"
Id = Annotated[str, Field(min_length=1, max_length=200, pattern=PRINTABLE)]
Code = Annotated[str, Field(min_length=1, max_length=60, pattern=CODE)]
Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]
Place = Annotated[str, Field(max_length=40, pattern=r"^[A-Za-z0-9-]+$")]
Payer = Annotated[str, Field(max_length=40, pattern=CODE)]
Approach = Annotated[str, Field(max_length=60, pattern=r"^[a-z][a-z0-9-]*$")]

_EPISODES = uuid.uuid5(uuid.NAMESPACE_URL, "rapport:episode")
_ADULT, _OLDER, _ADOLESCENT = 18, 65, 13


class Preferences(Part):
    """What the client asked for; wishes, honoured in the ranking, never imposed as filters."""

    therapist_gender: Gender | None = Field(default=None, description="gender of the therapist")
    approach: Approach | None = Field(default=None, description="code of a therapeutic approach, such as `cbt`")
    times: tuple[PartOfWeek, ...] = Field(default=(), max_length=4, description="when the client can come")


class Wanted(Part):
    """What both the referrer's statement of a need and our own record of it hold."""

    problem_area: ProblemArea = Field(description="main problem; one that is not ours to name is `unspecified`")
    level_of_care: LevelOfCare = Field(default="outpatient", description="level of care asked for")
    language: Language = Field(default="en", description="ISO 639 code of the client's language")
    place: Place = Field(default="unspecified", description="region or state code")
    modality: Modality = Field(default="any", description="how the client wants to meet")
    payer: Payer = Field(default="self-pay", description="code of who pays")
    urgency: Urgency = Field(default="routine", description="how soon somebody must act; `emergency` goes to people first")
    preferences: Preferences = Field(default=Preferences(), description="the client's wishes")


class Need(Wanted):
    """What the client needs, in codes: everything matching may know, and nothing that names the client."""

    age_band: AgeBand = Field(description="derived from the birth date, which stays in the identity store")


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
