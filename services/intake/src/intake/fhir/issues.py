"""What is wrong with a FHIR payload, or was passed over in it: where (FHIRPath) and what, in our words, never the sender's."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal[
    "structure", "required", "value", "invalid", "not-found", "not-supported", "business-rule", "conflict", "too-long",
    "informational",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Issue:
    """One entry of an OperationOutcome; `expression` is the simple FHIRPath of the element."""

    expression: str
    kind: Kind
    text: str
    severity: Literal["error", "warning", "information"] = "error"


class FhirRefused(ValueError):
    """The payload cannot be read as a referral; the one error the mapping raises."""

    def __init__(self, *issues: Issue) -> None:
        super().__init__(", ".join(f"{issue.expression}: {issue.kind}" for issue in issues))
        self.issues = issues


def refuse(expression: str, kind: Kind, text: str) -> FhirRefused:
    """A refusal for one reason."""
    return FhirRefused(Issue(expression, kind, text))


def operation_outcome(issues: Iterable[Issue]) -> dict[str, Any]:
    """The issues as a FHIR R4 OperationOutcome, which must hold at least one."""
    found = tuple(issues) or (Issue("", "informational", "nothing to remark", "information"),)
    return {"resourceType": "OperationOutcome", "issue": [_entry(issue) for issue in found]}


def _entry(issue: Issue) -> dict[str, Any]:
    entry: dict[str, Any] = {"severity": issue.severity, "code": issue.kind, "diagnostics": issue.text}
    return entry | {"expression": [issue.expression]} if issue.expression else entry
