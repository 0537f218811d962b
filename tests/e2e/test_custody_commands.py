"""`rapport custody check` on the whole history of a stack on which an emergency was escalated, and on doctored ones."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.e2e.payloads import ASSIGNER, Json, referral
from tests.e2e.world import World, rapport

from cli.demo.people import Part, Person
from contracts import handoff
from contracts.event import Event
from contracts.referral import ReferralSubmitted
from contracts.vocabulary import episode_id

Doctor = Callable[[list[Json]], list[Json]]
PARTS: dict[str, Part] = {"custody-plain": "plain", "custody-declined": "declined", "custody-silent-desk": "silent-desk"}


@pytest.fixture(scope="module")
def history(world: World) -> list[Json]:
    """What `rapport tail` prints of journeys that went well, were declined, and were escalated."""
    sent = []
    for name, part in PARTS.items():
        urgency = "emergency" if part == "silent-desk" else "routine"
        data = referral(name, need={"problem_area": "anxiety", "place": "NY", "urgency": urgency})
        world.parts[episode_id(ASSIGNER, name)] = part
        person = Person(0, part, "kafka", ReferralSubmitted.model_validate(data))
        sent.append(world.call(world.refer(person)))
    world.stand(sent)
    world.until(lambda: not world.heard.record.custody_findings(), "every open episode has exactly one custodian")
    tailed = rapport(world.stack, "tail", "--from-start", "--until-now", "--json")
    assert tailed.exit_code == 0, f"{tailed.output}{tailed.exception}"
    return [json.loads(line) for line in tailed.output.splitlines()]


def said(event: Json, kind: type[Event], name: str) -> bool:
    """Whether it is this event about the episode of this referral."""
    return bool(event["subject"] == episode_id(ASSIGNER, name) and event["type"].endswith(f".{word(kind)}.v1"))


def word(kind: type[Event]) -> str:
    return kind.__name__.replace("Handoff", "handoff-").lower()


def without(name: str, *kinds: type[Event]) -> Doctor:
    return lambda events: [event for event in events if not any(said(event, kind, name) for kind in kinds)]


def accepted_twice(events: list[Json]) -> list[Json]:
    once = next(event for event in events if said(event, handoff.HandoffAccepted, "custody-plain"))
    return [*events, {**once, "id": "once-more", "sequence": "00000000000000000099"}]


def checked(world: World, events: list[Json], file: Path) -> tuple[int, str]:
    file.write_text("\n".join(map(json.dumps, events)))
    result = rapport(world.stack, "custody", "check", "--history", str(file))
    return result.exit_code, result.output


def test_the_whole_history_of_the_stack_holds(world: World, history: list[Json], tmp_path: Path) -> None:
    code, output = checked(world, history, tmp_path / "history.jsonl")
    assert (code, ", 0 without" in output) == (0, True), output


@pytest.mark.parametrize(
    ("name", "doctor"),
    [
        ("custody-plain", without("custody-plain", handoff.HandoffAccepted)),
        ("custody-plain", accepted_twice),
        ("custody-silent-desk", without("custody-silent-desk", handoff.HandoffOverdue, handoff.HandoffEscalated)),
        ("custody-silent-desk", without("custody-silent-desk", handoff.HandoffEscalated)),
    ],
    ids=["an acceptance removed", "accepted twice", "never escalated", "overdue and left"],
)
def test_a_doctored_history_fails_and_names_the_one_episode(
    world: World, history: list[Json], tmp_path: Path, name: str, doctor: Doctor
) -> None:
    code, output = checked(world, doctor(history), tmp_path / "doctored.jsonl")
    failed = {line.split()[2].rstrip(":") for line in output.splitlines() if line.startswith("FAILED")}
    assert (code, failed) == (1, {episode_id(ASSIGNER, name)}), output
