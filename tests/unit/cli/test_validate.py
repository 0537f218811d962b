"""`rapport validate` says what is wrong, where, and what would be right."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.app import app
from cli.events.checking import BROKER_LIMIT, problems_in

GOLDEN = Path(__file__).parents[2] / "contract" / "golden"
REFERRAL = "care.rapport.referral.submitted.v1"


def golden(event_type: str = REFERRAL, **changed: Any) -> dict[str, Any]:
    members: dict[str, Any] = json.loads((GOLDEN / f"{event_type}.json").read_text())
    return {**members, **changed}


def found(document: Any, event_type: str | None = None) -> list[tuple[str, str]]:
    return [(problem.path, problem.problem) for problem in problems_in(document, event_type)]


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_every_golden_sample_is_valid(path: Path) -> None:
    assert found(json.loads(path.read_text())) == []


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ([], ("/", "not-an-object")),
        ({"resourceType": "Bundle"}, ("/resourceType", "fhir")),
        (golden(specversion="0.3"), ("/specversion", "envelope")),
        (golden(time="yesterday"), ("/time", "envelope")),
        (golden(type="care.rapport.referral.submited.v1"), ("/type", "unknown-type")),
        (golden(subject=""), ("/subject", "missing")),
        (golden(source="/rapport/intake"), ("/source", "foreign-source")),
        (golden(source="kafka:referrals.inbound.v1"), ("/source", "foreign-source")),
        (golden("care.rapport.intake.episode-opened.v1", source="/hospital"), ("/source", "foreign-source")),
        (golden(data={**golden()["data"], "note": "x" * BROKER_LIMIT}), ("/data", "too-large")),
    ],
)
def test_what_is_wrong_is_said_with_its_path(document: Any, problem: tuple[str, str]) -> None:
    assert found(document) == [problem]


def test_a_misspelt_field_deep_inside_is_named_with_the_right_one() -> None:
    data = golden()["data"]
    data["need"]["preferences"]["therapist_gendr"] = "female"
    (problem,) = problems_in(golden(data=data))
    assert (problem.path, problem.expected) == ("/data/need/preferences/therapist_gendr", "therapist_gender")


def test_bare_data_is_checked_against_the_given_type() -> None:
    choice = "care.rapport.clinical.choice-made.v1"
    assert found({"therapist_id": "any"}, choice) == []
    assert found({}, choice) == [("/therapist_id", "missing")]
    assert found({}, "care.rapport.nothing.v1") == [("--type", "unknown-type")]


def test_the_command_exits_with_one_and_says_where(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text("\n".join(json.dumps(one) for one in (golden(), golden(subject=""))))
    result = CliRunner().invoke(app, ["validate", str(file)])
    assert result.exit_code == 1
    assert f"valid {file}, line 1" in result.output
    assert f"missing at /subject of {file}, line 2" in result.output
