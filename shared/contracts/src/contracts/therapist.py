"""What directory owners say on `therapists.inbound.v1` (compacted): who can be offered a client, and with how many places."""

from typing import Literal

from pydantic import Field

from contracts.event import Event
from contracts.vocabulary import (
    AgeBand,
    Approach,
    Gender,
    Language,
    LevelOfCare,
    PartOfWeek,
    Payer,
    Place,
    ProblemArea,
)

MANY = 200


class TherapistListed(Event, type="care.rapport.therapist.listed.v1"):
    """The current listing of one therapist; subject and key = therapist id; a later one replaces it."""

    version: int = Field(ge=1, le=2**53, description="the directory owner's version; an older one than known is passed over")
    capacity: int = Field(ge=0, le=500, description="places; lowering it evicts nobody")
    problem_areas: tuple[ProblemArea, ...] = Field(description="problem areas the therapist works with")
    levels_of_care: tuple[LevelOfCare, ...] = Field(default=("outpatient",), description="levels of care offered")
    age_bands: tuple[AgeBand, ...] = Field(description="age bands the therapist works with")
    languages: tuple[Language, ...] = Field(max_length=MANY, description="ISO 639 codes of the languages spoken")
    places: tuple[Place, ...] = Field(max_length=MANY, description="region or state codes where the therapist may practise")
    modalities: tuple[Literal["in-person", "video", "phone"], ...] = Field(description="how sessions can be held")
    payers: tuple[Payer, ...] = Field(max_length=MANY, description="codes of the payers accepted")
    gender: Gender | None = Field(default=None, description="the therapist's gender, for the client's preference")
    approaches: tuple[Approach, ...] = Field(default=(), max_length=MANY, description="codes of therapeutic approaches")
    times: tuple[PartOfWeek, ...] = Field(default=(), description="when sessions can be held")
    accepting: bool = Field(default=True, description="false while no new client is taken")
