"""Why a record is not a CloudEvent: where, and what would be right; never the value that stood there."""

from pydantic import ValidationError

MAX_TEXT = 500
_INSTANT = "must be an RFC 3339 instant with a zone, such as 2026-11-23T09:00:00Z"
_NUMBER, _CODE = "must be a number below 2^63", "must be a code"
_EXPECTED = {"time": _INSTANT, "recordedtime": _INSTANT, "sequence": _NUMBER, "sensitivity": _CODE}


class EnvelopeError(ValueError):
    """The record is not a CloudEvent; `path` names the header or member, never its value."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path, self.problem = path, problem


def refusal(error: ValidationError) -> EnvelopeError:
    """The first thing that pydantic found wrong with the attributes."""
    name = str(error.errors(include_input=False)[0]["loc"][0])
    return EnvelopeError(
        f"ce_{name}", _EXPECTED.get(name, f"must be text of 1 to {MAX_TEXT} characters without control characters")
    )
