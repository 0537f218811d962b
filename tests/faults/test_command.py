"""`rapport faults` as it is asked: wrongly asked it exits 2 and starts nothing; without a checkout it says so."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.app import app
from cli.commands import faults
from cli.stack import StackError
from cli.stack.paths import CHECKOUT


def test_an_unknown_bug_exits_2_and_lists_those_there_are(tmp_path: Path) -> None:
    words = ["faults", "--bug", "deaf-consumer", "--home", str(tmp_path / "home")]
    result = subprocess.run([sys.executable, "-P", "-m", "cli", *words], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "there is no bug deaf-consumer; there are ack-first, commit-before-transaction," in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [["--smoke", "--long"], ["--minutes", "soon"]])
def test_options_that_make_no_sense_exit_2(words: list[str]) -> None:
    command = [sys.executable, "-m", "tests.faults", *words]
    assert subprocess.run(command, cwd=CHECKOUT, capture_output=True, check=False).returncode == 2


def test_without_a_checkout_it_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "HARNESS", tmp_path / "tests" / "faults")
    result = CliRunner().invoke(app, ["faults"])
    assert isinstance(result.exception, StackError)
    assert "part of a checkout" in str(result.exception)
