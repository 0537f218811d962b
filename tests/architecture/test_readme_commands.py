"""Every command of the README is run by something that a change must pass."""

import re
from pathlib import Path

import pytest
from tests.support.readme import ROOT, commands

CI = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
README_RUN = ROOT / "tests" / "e2e" / "test_readme.py"

# The beginning of a command, and where it is run.
RUN_BY: dict[str, str | Path] = {
    "make demo": ".ci/run",
    "make test": ".ci/run",
    "make bench": ".ci/run",
    "make faults": ".ci/run",
    "./rapport parked": README_RUN.with_name("test_parked_runbook.py"),
    "./rapport ledger": README_RUN.with_name("test_ledger_evidence.py"),
    "./rapport up": README_RUN,
    "./rapport status": README_RUN,
    "./rapport logs": README_RUN,
    "./rapport watch": README_RUN,
    "./rapport journey": README_RUN,
    "./rapport episode": README_RUN,
    "./rapport handoffs": README_RUN,
    "./rapport at-risk": README_RUN,
    "./rapport custody check": README_RUN,
    "./rapport validate": README_RUN,
    "./rapport publish": README_RUN,
    "./rapport tail": README_RUN,
    "./rapport down": README_RUN,
    "INTAKE=$(./rapport status --json": README_RUN,
    "curl ": README_RUN,
    "cd ": README_RUN,
}
COMMANDS = list(commands())


def run_by(command: str) -> str | Path | None:
    """Where the command is run; None when this table does not know it."""
    found = [begin for begin in RUN_BY if (f"{command} ").startswith(begin if begin.endswith(" ") else f"{begin} ")]
    return RUN_BY[max(found, key=len)] if found else None


def test_the_readme_has_commands() -> None:
    assert {"make demo", "make test"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_is_known_and_run(command: str) -> None:
    where = run_by(command)
    assert where, f"nothing runs `{command}`: say in RUN_BY where it is run, after it is"
    if isinstance(where, Path):
        assert where.exists()
    else:
        word = command.split()[1]
        assert re.search(rf"^make (\w+ )*{word}\b", CI, re.MULTILINE), f".ci/run does not run make {word}"


@pytest.mark.parametrize(
    "target", sorted({word for line in COMMANDS if line.startswith("make ") for word in line.split()[1:2]})
)
def test_a_target_of_the_readme_is_in_the_makefile(target: str) -> None:
    assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), f"the Makefile has no target {target}"


@pytest.mark.parametrize("unknown", ["make coffee", "./rapport fly", "rm -rf data", "./rapport upgrade"])
def test_an_unknown_command_is_noticed(unknown: str) -> None:
    assert run_by(unknown) is None
