"""The few lines of docs/ledger.md that check a proof without any code of ours do so, and refuse what `check` refuses."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.ledger.test_evidence import HANDOFF, PROOF, changed

DOCUMENT = (Path(__file__).parents[3] / "docs" / "ledger.md").read_text(encoding="utf-8")


def by_hand(folder: Path, proof: str) -> "subprocess.CompletedProcess[str]":
    (program,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    (folder / "by_hand.py").write_text(program)
    (folder / "proof.json").write_text(proof)
    argv = [sys.executable, "-I", str(folder / "by_hand.py"), str(folder / "proof.json")]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_it_checks_every_entry_of_a_proof(tmp_path: Path) -> None:
    done = by_hand(tmp_path, PROOF)
    assert (done.returncode, [int(line.split()[0]) for line in done.stdout.splitlines()]) == (0, list(HANDOFF)), done.stderr


@pytest.mark.parametrize("member", ["entry", "data", "index", "path"])
def test_it_refuses_what_was_changed(tmp_path: Path, member: str) -> None:
    other = {"entry": {**json.loads(PROOF)["entries"][0]["entry"], "type": "other"}, "data": "eA==", "index": 1, "path": []}
    done = by_hand(tmp_path, changed(PROOF, lambda whole: whole["entries"][0].update({member: other[member]})))
    assert (done.returncode, "AssertionError" in done.stderr) == (1, True), done.stdout
