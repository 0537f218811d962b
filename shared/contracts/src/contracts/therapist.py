"""What directory owners say on `therapists.inbound.v1` (compacted): who can be offered a client, and with how many places."""

from typing import Literal

from pydantic import Field

from contracts.event import Event
from contracts.vocabulary import AgeBand, LevelOfCare, ProblemArea


class TherapistListed(Event, type="care.rapport.therapist.listed.v1"):
    """The current listing of one therapist; subject and key = therapist id; a later one replaces it."""

    version: int = Field(ge=1, description="the directory owner's version; an older one than known is passed over")
    capacity: int = Field(ge=0, le=500, description="places; lowering it evicts nobody")
    problem_areas: tuple[ProblemArea, ...]
    levels_of_care: tuple[LevelOfCare, ...] = ("outpatient",)
    age_bands: tuple[AgeBand, ...]
    languages: tuple[str, ...]
    places: tuple[str, ...]
    modalities: tuple[Literal["in-person", "video", "phone"], ...]
    payers: tuple[str, ...]
    gender: Literal["female", "male", "nonbinary"] | None = None
    approaches: tuple[str, ...] = ()
    times: tuple[Literal["morning", "afternoon", "evening", "weekend"], ...] = ()
    accepting: bool = True
