"""The runbook of what is parked is run as it stands, on a running stack: see, mend, retry, discard, resume."""

import os
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.e2e.world import World, rapport
from tests.support.readme import ROOT, commands
from tests.support.stack import query

from cli.stack import Stack
from contracts.binary import attributes_of, to_headers
from contracts.clinical import SessionRecorded
from contracts.envelope import Envelope
from contracts.topics import CLINICAL, INTAKE

RUNBOOK = "docs/runbooks/parked.md"
LINES = list(commands(RUNBOOK))
UP = "FOLLOWUP_EARLY_LIMIT=3 ./rapport up"
DRILL = LINES[LINES.index(UP) + 1 :]
DAILY = LINES[: LINES.index(UP)]
CLIENT = "08578c15-4871-5013-af9c-13f9b423c500"


@contextmanager
def impatient(world: World) -> Iterator[None]:
    """Followup, started as the runbook says; afterwards as it was."""
    name, _, seconds = UP.split()[0].partition("=")
    try:
        for value in (seconds, None):
            world.stack.stop("followup")
            if value:
                os.environ[name] = value
            else:
                os.environ.pop(name, None)
            world.stack.start("followup")
            if value:
                yield
    finally:
        os.environ.pop(name, None)


@pytest.fixture(scope="module")
def drilled(world: World) -> Iterator[World]:
    """The stack with an impatient followup, and nobody who plays the drill's client."""
    world.bystanders.left_alone.add(CLIENT)
    with impatient(world):
        yield world


def run(world: World, line: str, **known: str) -> str:
    """What a line of the runbook prints; its placeholders are filled in."""
    for word, value in known.items():
        line = line.replace(word, value)
    words = [str(ROOT / word) if word.startswith("docs/") else word for word in line.split()[1:]]
    ran = rapport(world.stack, *words)
    assert ran.exit_code == 0, f"{line}: {ran.output}{ran.exception}"
    assert ran.output.strip(), f"{line} prints nothing"
    return ran.output


def rows(world: World, **filters: str) -> list[dict[str, Any]]:
    """What followup has set aside."""
    found: list[dict[str, Any]] = world.get("followup", "/v1/parked", params=filters).json()["rows"]
    return found


def parked_row(world: World, subject: str, behind: int) -> str:
    """The row of a subject's lane that waits for a person, once as many wait behind it."""

    def head() -> str | None:
        found = rows(world, outcome="parked", subject=subject)
        return next((f"followup/{row['target']}" for row in found if row["behind"] == behind), None)

    return world.until(head, f"followup parks what came too early about {subject}", within=40)


def test_the_drill_works_as_it_is_written_and_order_is_kept(drilled: World) -> None:
    row, said = "", list[str]()
    awaited: dict[str, Callable[[], Any]] = {
        "therapist.json": lambda: drilled.get("matching", "/v1/therapists/t-drill").is_success,
        "referral.json": lambda: "ShortlistProposed" in heard(drilled),
        "choice.json": lambda: "MatchOffered" in heard(drilled),
        "answer.json": lambda: "PlanActivated" in heard(drilled),
        "broken.json": lambda: rows(drilled, reason="schema-missing", id="drill-broken-1"),
        "--reason plan-is-known": lambda: not rows(drilled, subject=CLIENT),
        "parked discard": lambda: not rows(drilled, id="drill-broken-1"),
    }
    for line in DRILL:
        said.append(run(drilled, line, **({"followup/1": row} if row else {})))
        if "sessions.jsonl" in line:
            row = parked_row(drilled, CLIENT, behind=2)
        for what, seen in awaited.items():
            if what in line:
                drilled.until(seen, f"after {line}", within=30)
    told = dict(zip(DRILL, said, strict=True))
    sessions = [
        part for part in told[next(line for line in DRILL if "followup.events.v1" in line)].split() if "session_id" in part
    ]
    assert sessions == [f"session_id=s-{n}" for n in (1, 2, 3)]
    assert "two wait" not in told[DRILL[2]]
    assert told[DRILL[2]].count("behind it:") == 2
    assert "action=retry reason=plan-is-known" in said[-1]
    assert "action=discard reason=sender-corrected" in said[-1]


def heard(world: World) -> set[str]:
    """What was said about the drill's client."""
    return {type(event).__name__ for _, event in world.heard.record.episodes[CLIENT]}


def test_every_other_command_of_the_runbook_works(drilled: World) -> None:
    """On one record that came too early and will never be in time, and on a topic that is stopped."""
    episode = str(uuid.uuid4())
    session = SessionRecorded(session_id="s-1", held_at=datetime(2026, 11, 23, 9, tzinfo=UTC))
    envelope = Envelope(id=episode, source="/portal/drill", type=session.type, subject=episode, time=datetime.now(UTC))
    drilled.send(CLINICAL, episode, session.model_dump_json().encode(), list(to_headers(attributes_of(envelope))))
    row = parked_row(drilled, episode, behind=0)
    for line in DAILY:
        if line.startswith("./rapport parked resume"):
            stop(drilled, "matching", INTAKE)
        shown = run(drilled, line, ROW=row)
        assert "FAILED" not in shown, f"{line}: {shown}"
        if line.startswith("./rapport parked resume"):
            drilled.until(lambda: drilled.get("matching", "/readyz").is_success, "matching reads on")
        if "retry ROW" in line and "--dry-run" not in line:
            parked_row(drilled, episode, behind=0)
    assert rows(drilled, subject=episode) == []


def stop(world: World, service: str, topic: str) -> None:
    """As too many faults would stop it; returns when the service says so."""
    query(world.stack.dsn(service, "owner"), "INSERT INTO messaging.stop VALUES ($1, now(), 50)", topic)
    world.until(lambda: "is stopped" in world.get(service, "/readyz").text, f"{service} stops reading {topic}")
    status = rapport(world.stack, "status")
    assert f"{service} stopped reading {topic} after 50 faults" in status.output
    assert 'topic_stopped{topic="' + topic + '"} 1.0' in world.get(service, "/metrics").text
    start_again(world, service, topic)


def start_again(world: World, service: str, topic: str) -> None:
    """It comes up as far as it can, and nobody waits for what only a person can do."""
    said = list[str]()
    stack = Stack(world.stack.home, world.stack.settings, say=said.append)
    stack.stop(service)
    stack.start(service)
    waits = f"waits for a person: consumer: {topic} is stopped after 50 "
    assert re.fullmatch(rf"{service} up in \S+ s on \S+, {waits}.*", said[-1])


def test_a_name_that_is_no_row_and_wishes_without_any_row_are_sentences(drilled: World) -> None:
    for words, sentence in {
        ("show", "17"): "is no row", ("retry", "intake/900017"): "nothing is set aside under 900017",
        ("retry",): "name rows", ("discard", "--reason", "x", "intake/1", "--service", "intake"): "not both",
        ("list", "--service", "billing"): "is none of", ("retry", "intake/1", "--rate", "fast"): "is no pace",
    }.items():  # fmt: skip
        ran = rapport(drilled.stack, "parked", *words)
        assert ran.exit_code == 1
        assert sentence in f"{ran.output}{ran.exception}"
