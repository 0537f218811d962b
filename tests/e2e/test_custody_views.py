"""Views of custody on a running stack, and the runbook of late handoffs as it stands: nobody answers before it says so."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.payloads import ASSIGNER, referral
from tests.e2e.world import World, rapport
from tests.support.readme import blocks, commands

from cli.demo.people import Person
from contracts import intake
from contracts.event import Event
from contracts.referral import ReferralSubmitted
from contracts.vocabulary import episode_id

RUNBOOK = "docs/runbooks/late-handoffs.md"
COMMANDS = [line for line in commands(RUNBOOK) if line.startswith("./rapport ")]
SILENT = episode_id(ASSIGNER, "views-silent")


@pytest.fixture(scope="module")
def silent(world: World) -> str:
    """A client in an emergency whom no desk answers for, after the first handoff has run out."""
    world.bystanders.left_alone.add(SILENT)
    data = referral("views-silent", need={"problem_area": "anxiety", "place": "NY", "urgency": "emergency"})
    world.call(world.refer(Person(0, "silent-desk", "kafka", ReferralSubmitted.model_validate(data))))
    world.until(lambda: said(world, intake.HandoffEscalated), "the crisis desk's silence is escalated", within=30)
    world.until(lambda: standing(world), "oversight shows the handoff that stands")
    return SILENT


def said(world: World, kind: type[Event]) -> list[Any]:
    return [(e, d) for e, d in world.heard.record.episodes[SILENT] if isinstance(d, kind)]


def asked(world: World, *words: str) -> Any:
    ran = rapport(world.stack, *words, "--json")
    assert ran.exit_code == 0, f"{words}: {ran.output}{ran.exception}"
    return json.loads(ran.output)


def standing(world: World) -> dict[str, Any] | None:
    """The handoff of the silent client that waits for an answer, which is not the first."""
    found = (one for one in asked(world, "handoffs") if one["episode"] == SILENT and one["attempt"] > 1)
    return next(found, None)


def readings(world: World) -> int:
    events = asked(world, "journey", SILENT)
    return sum(event["type"].endswith(".ledger-read.v1") for event in events)


def test_what_ran_out_is_shown_with_its_times_and_where_it_went(world: World, silent: str) -> None:
    overdue = next(one for one in asked(world, "handoffs", "--said", "overdue") if one["episode"] == silent)
    assert (overdue["state"], overdue["late"], overdue["receiver"]) == ("escalated", True, "crisis-desk")
    assert overdue["offered_at"] < overdue["deadline"] < overdue["overdue_at"] <= overdue["escalated_at"]
    assert overdue["escalated_to"] == (standing(world) or {}).get("receiver")


def test_a_handoff_that_nobody_answers_comes_onto_the_list_of_risks(world: World, silent: str) -> None:
    def risk() -> Any:
        return next((one for one in asked(world, "at-risk") if one["episode"] == silent), None)

    found = world.until(risk, "the unanswered handoff is at risk", within=50)
    assert found["why"] in ("little-left", "needs-longer", "past-deadline")
    assert found["seconds_left"] < 30


def test_an_episode_is_shown_as_it_is_as_it_was_and_as_it_was_known_and_each_reading_is_on_record(
    world: World, silent: str
) -> None:
    ((opened, _),) = said(world, intake.EpisodeOpened)
    before = readings(world)
    now = asked(world, "episode", silent)
    assert (now["custodian"], now["terms"][0]["custodian"], now["handoffs"][0]["state"]) == ("intake", "intake", "escalated")
    then = asked(world, "episode", silent, "--at", opened.time.isoformat())
    assert (then["custodian"], [one["state"] for one in then["handoffs"] if one["overdue_at"]]) == ("intake", [])
    unknown = asked(world, "episode", silent, "--known", "2020-01-01")
    assert (unknown["custodian"], unknown["events"], unknown["handoffs"]) == (None, 0, [])
    world.until(lambda: readings(world) >= before + 3, "each reading is on record")


@pytest.mark.parametrize(("query", "where"), [
    ({"at": "yesterday"}, "/at"), ({"known": "2026-11-23T09:00:00"}, "/known"), ({"at": "2026-11-23T09:00:00 01:00"}, "/at"),
])  # fmt: skip
def test_a_bad_instant_is_refused_with_where_and_what_would_be_right(
    world: World, silent: str, query: dict[str, str], where: str
) -> None:
    refused = world.get("oversight", f"/v1/episodes/{silent}/custody", params=query, headers={"X-Actor": "auditor"})
    assert refused.status_code == 422
    (problem,) = refused.json()["problems"]
    assert (problem["path"], "2026-11-23T09:00:00Z" in problem["expected"]) == (where, True)


def test_who_reads_about_one_client_must_say_who_they_are(world: World, silent: str) -> None:
    assert world.get("oversight", f"/v1/episodes/{silent}/custody").status_code == 422
    unknown = world.get("oversight", "/v1/episodes/nobody/custody", headers={"X-Actor": "auditor"})
    assert (unknown.status_code, unknown.json()["title"]) == (404, "nothing is recorded about this episode")


@pytest.fixture(scope="module")
def checkout(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `./rapport` means this stack."""
    folder = tmp_path_factory.mktemp("late")
    command = folder / "rapport"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m cli "$@" --home "{world.stack.home}"\n')
    command.chmod(0o755)
    return folder


def script(folder: Path, text: str) -> str:
    """What a person would see who typed it."""
    ran = subprocess.run(["bash", "-euc", text], cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_runbook_works(world: World, silent: str, line: str) -> None:
    if "custody check" in line:
        world.until(lambda: not world.heard.record.custody_findings(), "every open episode has exactly one custodian")
    words = line.replace("EPISODE", silent).replace("INSTANT", "2026-11-23T09:00:00Z").split()[1:]
    ran = rapport(world.stack, *words)
    assert ran.exit_code == 0, f"{line}: {ran.output}{ran.exception}"
    assert ran.output.strip(), f"{line} prints nothing"


@pytest.mark.skipif(shutil.which("curl") is None, reason="the runbook answers with curl")
def test_a_desk_that_answers_as_the_runbook_says_becomes_custodian(world: World, silent: str, checkout: Path) -> None:
    """The deadline is four seconds here, so the address is asked for once, and only the answer is tried again."""
    (asking,) = (block for block in blocks(RUNBOOK) if "curl" in block)
    looking, _, answering = asking.partition("curl ")
    address = script(checkout, f"{looking}echo $INTAKE").strip()

    def accepted() -> list[Any]:
        one = standing(world) or {"handoff_id": "none", "receiver": "nobody"}
        answer = answering.replace("EPISODE", silent).replace("HANDOFF", one["handoff_id"]).replace("RECEIVER", one["receiver"])
        script(checkout, f"INTAKE={address}\ncurl {answer}")
        return said(world, intake.HandoffAccepted)

    world.until(accepted, "the desk's acceptance is confirmed", within=40)
    world.until(lambda: len(asked(world, "episode", silent)["terms"]) > 1, "the desk is shown as a custodian")
