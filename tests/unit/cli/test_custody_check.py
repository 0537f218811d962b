"""`rapport custody check` on histories from a file: a true one passes, each doctored one fails and names its episode."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.journeys import EPISODE, Journey, whole_journey
from typer.testing import CliRunner, Result

from cli.app import app
from contracts import handoff, intake
from contracts.binary import attributes_of
from contracts.custody import Recorded
from contracts.event import Event
from contracts.structured import structured

Doctor = Callable[[list[Recorded]], list[Recorded]]


def run_check(path: Path, events: list[Recorded], *options: str) -> Result:
    lines = [json.dumps(structured(attributes_of(e), d.model_dump(mode="json", exclude_none=True))) for e, d in events]
    path.write_text("\n".join(lines))
    return CliRunner().invoke(app, ["custody", "check", "--history", str(path), *options])


def escalated_journey() -> Journey:
    """Nobody answered matching's first offer; the duty manager took over and handed on."""
    journey = Journey()
    arbiter = journey.intake()
    arbiter.offer("matching")
    arbiter.overdue()
    arbiter.accept()
    arbiter.offer("matching")
    arbiter.accept()
    return journey


@pytest.mark.parametrize("journey", [whole_journey(), escalated_journey()])
def test_a_true_history_passes(tmp_path: Path, journey: Journey) -> None:
    result = run_check(tmp_path / "history.jsonl", journey.events)
    assert (result.exit_code, result.output) == (0, "1 open episodes: 1 with exactly one custodian, 0 without\n")


def without(*kinds: type[Event]) -> Doctor:
    return lambda events: [(envelope, event) for envelope, event in events if not isinstance(event, kinds)]


def accepted_twice(events: list[Recorded]) -> list[Recorded]:
    envelope, event = next(one for one in events if isinstance(one[1], handoff.HandoffAccepted))
    return [*events, (envelope.model_copy(update={"id": "again", "sequence": 99}), event)]


@pytest.mark.parametrize(
    ("doctor", "code"),
    [
        (without(intake.HandoffAccepted), "not-custodian"),
        (accepted_twice, "two"),
        (without(handoff.HandoffOverdue, handoff.HandoffEscalated), "never-escalated"),
        (without(intake.EpisodeOpened), "none"),
    ],
)
def test_a_doctored_history_fails_and_names_the_episode(tmp_path: Path, doctor: Doctor, code: str) -> None:
    journey = escalated_journey() if code == "never-escalated" else whole_journey()
    result = run_check(tmp_path / "history.jsonl", doctor(journey.events), "--as-of", "2026-11-24")
    assert result.exit_code == 1
    assert f"FAILED episode {EPISODE}: {code}: " in result.output


def test_the_last_acceptance_removed_fails_with_the_newest_event_as_the_present(tmp_path: Path) -> None:
    events = [one for one in whole_journey().events if one[1].type != "care.rapport.matching.handoff-accepted.v1"]
    result = run_check(tmp_path / "history.jsonl", events)
    assert (result.exit_code, "unconfirmed" in result.output) == (1, True)
    assert run_check(tmp_path / "history.jsonl", events, "--grace", "60").exit_code == 0


def test_a_handoff_replaced_after_its_deadline_without_a_word_fails_though_the_history_ends_soon_after(tmp_path: Path) -> None:
    """With deadlines of seconds, the newest event may be too young to judge an unanswered one by."""
    events = without(handoff.HandoffOverdue, handoff.HandoffEscalated)(escalated_journey().events)
    result = run_check(tmp_path / "history.jsonl", events)
    assert (result.exit_code, "never-escalated" in result.output) == (1, True)


def test_types_of_a_later_version_and_arrays_are_read(tmp_path: Path) -> None:
    events = [structured(attributes_of(e), d.model_dump(mode="json", exclude_none=True)) for e, d in whole_journey().events]
    later = {**events[0], "id": "later", "type": "care.rapport.intake.invented-in-2030.v1", "data": {}}
    (tmp_path / "history.json").write_text(json.dumps([*events, later]))
    assert CliRunner().invoke(app, ["custody", "check", "--history", str(tmp_path / "history.json")]).exit_code == 0
