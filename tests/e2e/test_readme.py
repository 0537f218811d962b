"""What the README tells people to run is run, as it stands there, on a running stack."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.e2e.world import World, rapport
from tests.support.readme import ROOT, blocks, commands

from cli.stack import Stack
from contracts import followup

# Lines that need another word to be run here: a placeholder filled in, a live view read once, another stack to stop.
RUN_AS = {
    "./rapport logs matching -f": "./rapport logs matching",
    "./rapport watch": "./rapport watch --once",
    "./rapport journey EPISODE": "./rapport journey {episode}",
    "./rapport episode EPISODE": "./rapport episode {episode}",
    "./rapport validate FILE": "./rapport validate docs/samples/session.json",
    "./rapport publish FILE": "./rapport publish docs/samples/session.json",
    "./rapport tail --type handoff-accepted": "./rapport tail --type handoff-accepted --until-now",
}
EPISODE = "72dec744-def0-5b2a-8aa6-5b065f46deb1"
WAITS_FOR = {"referral.json": "ShortlistProposed", "choice.json": "MatchOffered", "answer.json": "PlanActivated"}
ELSEWHERE = ("docs/samples", EPISODE, "./rapport ledger")
DAILY = [line for line in commands() if line.startswith("./rapport ") and not any(word in line for word in ELSEWHERE)]


def words_of(line: str, **known: str) -> list[str]:
    """The words after ./rapport, with the paths of the checkout."""
    words = RUN_AS.get(line, line).format(**known).split()[1:]
    return [str(ROOT / word) if word.startswith("docs/") else word for word in words]


@pytest.fixture(scope="module")
def client(world: World) -> str:
    """The client of the README's own samples, played by its commands and by nobody else."""
    world.bystanders.left_alone.add(EPISODE)
    for line in (line for line in commands() if line.startswith("./rapport") and "docs/samples" in line):
        ran = rapport(world.stack, *words_of(line))
        assert ran.exit_code == 0, f"{line}: {ran.output}{ran.exception}"
        awaited = next(
            (event for name, event in WAITS_FOR.items() if line.startswith(f"./rapport publish docs/samples/{name}")), None
        )
        if awaited:
            world.until(lambda awaited=awaited: awaited in _said(world), f"{line} is followed by {awaited}")  # type: ignore[misc]
    return EPISODE


def _said(world: World) -> set[str]:
    return {type(event).__name__ for _, event in world.heard.record.episodes[EPISODE]}


def test_the_first_referral_over_kafka_goes_on_to_an_active_plan(world: World, client: str) -> None:
    assert any(isinstance(event, followup.PlanActivated) for _, event in world.heard.record.episodes[client])
    shown = world.until(lambda: _with_plan(world, client), "the journey shows the active plan")
    assert "followup" in shown


def _with_plan(world: World, episode: str) -> str:
    ran = rapport(world.stack, "journey", episode)
    return ran.output if ran.exit_code == 0 and "PlanActivated" in ran.output else ""


@pytest.mark.parametrize("line", [line for line in DAILY if line != "./rapport down"])
def test_a_command_of_every_day_works(world: World, client: str, line: str) -> None:
    if line == "./rapport custody check":
        world.until(lambda: not world.heard.record.custody_findings(), "every open episode has exactly one custodian")
    ran = rapport(world.stack, *words_of(line, episode=client))
    assert ran.exit_code == 0, f"{line}: {ran.output}{ran.exception}"
    assert ran.output.strip(), f"{line} prints nothing"


def test_down_stops_what_runs(tmp_path: Path) -> None:
    assert "./rapport down" in DAILY
    ran = rapport(Stack(tmp_path / "another"), "down")
    assert ran.exit_code == 0, f"{ran.output}{ran.exception}"


@pytest.fixture(scope="module")
def checkout(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `./rapport` means this stack and the samples are where the README says."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("docs", "shared"):
        (folder / name).symlink_to(ROOT / name)
    command = folder / "rapport"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m cli "$@" --home "{world.stack.home}"\n')
    command.chmod(0o755)
    return folder


@pytest.mark.skipif(shutil.which("curl") is None, reason="the README's HTTP examples are written for curl")
def test_the_examples_for_curl_are_accepted(world: World, checkout: Path) -> None:
    asking = [block for block in blocks() if "$INTAKE" in block]
    assert asking, "the README has no example for HTTP"
    address = next(command for command in commands() if command.startswith("INTAKE="))
    script = "\n".join(["set -eu", address, *asking])
    ran = subprocess.run(["bash", "-c", script], cwd=checkout, capture_output=True, text=True, check=False, env=os.environ)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    answers = re.findall(r"HTTP/[0-9.]+ (\d+)", ran.stdout)
    assert len(answers) == sum(block.count("curl -i") for block in asking), ran.stdout
    assert [answer for answer in answers if not answer.startswith("2")] == [], ran.stdout
