"""What a client needs and what a therapist's listing offers, as codes of one kind, so that one can be held to the other."""

from dataclasses import dataclass

Code = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Preferences:
    """Wishes of the client: honoured in the ranking, never imposed as filters."""

    therapist_gender: str | None = None
    approach: str | None = None
    times: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Need:
    """What the client needs, in codes; what is left open (`unspecified`, `any`) is asked of nobody."""

    problem_area: str
    level_of_care: str
    age_band: str
    language: str
    place: str
    modality: str
    payer: str
    urgency: str
    preferences: Preferences = Preferences()

    def requirements(self) -> list[Code]:
        """What a therapist must list: all of it, or the client is not shown to them.

        Licence in the client's place (also for video), age, modality, payer, language and level of care are legal or practical
        limits; the problem area is the therapist's own boundary of competence (APA Ethics Code, standard 2.01).
        """
        required = [
            ("problem_area", self.problem_area), ("level_of_care", self.level_of_care), ("age_band", self.age_band),
            ("language", self.language), ("place", self.place), ("modality", self.modality), ("payer", self.payer),
        ]  # fmt: skip
        return [code for code in required if code[1] not in ("unspecified", "any")]


@dataclass(frozen=True, slots=True)
class Listing:
    """One therapist as the directory owner lists them; `version` is the owner's and only grows."""

    version: int
    capacity: int
    problem_areas: tuple[str, ...]
    levels_of_care: tuple[str, ...]
    age_bands: tuple[str, ...]
    languages: tuple[str, ...]
    places: tuple[str, ...]
    modalities: tuple[str, ...]
    payers: tuple[str, ...]
    gender: str | None = None
    approaches: tuple[str, ...] = ()
    times: tuple[str, ...] = ()
    accepting: bool = True

    def codes(self) -> list[Code]:
        """Everything a need or a preference may ask of this therapist."""
        listed = {
            "problem_area": self.problem_areas, "level_of_care": self.levels_of_care, "age_band": self.age_bands,
            "language": self.languages, "place": self.places, "modality": self.modalities, "payer": self.payers,
            "approach": self.approaches, "time": self.times, "gender": (self.gender,) if self.gender else (),
        }  # fmt: skip
        return [(kind, value) for kind, values in listed.items() for value in values]

    def opens(self, before: "Listing | None") -> int:
        """How many places may be open here now that were not offered before, to anybody or to some."""
        if not self.accepting:
            return 0
        if before is None or not before.accepting or not set(self.codes()) <= set(before.codes()):
            return self.capacity
        return max(0, self.capacity - before.capacity)
