"""Nothing that is committed knows the machine or the registry it was written on."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Folders of somebody's machine, and hosts of registries and proxies; put together, so that this file does not find itself.
FORBIDDEN = re.compile(
    "|".join(["/(?:root|home/[a-z]+|Users|workspace|work)" + "/", "files[.]python" + "hosted", "pypi[.]org/" + "simple"])
)
ALLOWED = {"tests/architecture/test_no_addresses.py"}


def committed() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name and name not in ALLOWED]


def test_no_committed_file_names_a_folder_of_a_machine_or_the_host_of_a_registry() -> None:
    found = []
    for path in committed():
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            lines = enumerate(text.splitlines(), 1)
            found += [
                f"{path.relative_to(ROOT)}:{number}: {seen[0]}" for number, line in lines if (seen := FORBIDDEN.search(line))
            ]
    assert found == []


def test_the_lock_that_names_registries_is_not_committed() -> None:
    assert ROOT / "uv.lock" not in committed()
