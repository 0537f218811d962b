"""The base of every event's data, and the registry from CloudEvents type to class."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

REGISTRY: dict[str, type["Event"]] = {}


class Part(BaseModel):
    """A named part of an event's data; readers ignore what they do not know, so that events can grow."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Event(Part):
    """Data of one event type: ids and codes only, unless it arrives on `referrals.inbound.v1`."""

    type: ClassVar[str]

    def __init_subclass__(cls, type: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if type is not None:
            cls.type = type
            REGISTRY[type] = cls


class Problem(Part):
    """One thing wrong with a payload: where (a JSON pointer), what, and what would be right; never the value itself."""

    path: str = Field(description="JSON pointer into the payload")
    problem: str = Field(description="code of what is wrong")
    expected: str | None = Field(default=None, description="what would be right")


def problems_of(error: ValidationError) -> list[Problem]:
    """What pydantic found, as JSON pointers and without the input's values, since those may identify a client."""
    return [
        Problem(
            path="/" + "/".join(str(step) for step in found["loc"]),
            problem=found["type"].replace("_", "-"),
            expected=str(found.get("ctx", {}).get("expected") or found["msg"]) if _safe(found["type"]) else None,
        )
        for found in error.errors(include_input=False, include_url=False)
    ]


def _safe(kind: str) -> bool:
    return not kind.startswith(("value_error", "json_invalid", "assertion"))
