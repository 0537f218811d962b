"""The code that runs: a copy of services/ and shared/, so that a run is of one state of it, with a bug seeded if asked."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

BUGS, CLIENT = Path(__file__).parent / "bugs", Path(__file__).parent / "client"
_COPIED = ("services/*/src", "shared/contracts/src", "shared/messaging/src", "shared/ledger/src")


class UnknownBug(Exception):
    """There is no patch of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no bug {name}; there are {', '.join(names())}")
        self.name = name


class StalePatch(Exception):
    """The code has moved on: this patch no longer fits it."""

    def __init__(self, name: str, said: str) -> None:
        super().__init__(f"the bug {name} no longer fits the code:\n{said}")
        self.name = name


def names() -> list[str]:
    """Every bug that can be seeded: one patch each."""
    return sorted(path.stem for path in BUGS.glob("*.patch"))


def copy(checkout: Path, into: Path, bug: str | None = None) -> Mapping[str, str]:
    """Copies the code, seeds the bug, and returns the environment in which Python finds the copy first."""
    if bug is not None and bug not in names():
        raise UnknownBug(bug)
    sources = [path for pattern in _COPIED for path in sorted(checkout.glob(pattern))]
    for path in sources:
        shutil.copytree(path, into / path.relative_to(checkout))
    if bug is not None:
        _seed(into, bug)
    found_first = [*(into / path.relative_to(checkout) for path in sources), CLIENT]
    return {"PYTHONPATH": os.pathsep.join(map(str, found_first)), "RAPPORT_FAULTS_LEADERLESS": str(leaderless(into.parent))}


def leaderless(home: Path) -> Path:
    """The file that makes partitions leaderless while it stands, see client/sitecustomize.py."""
    return home / "leaderless"


def _seed(folder: Path, bug: str) -> None:
    """The ceiling keeps git from taking the folder for a part of the repository around it, where it would apply nothing."""
    result = subprocess.run(
        ["git", "apply", "--verbose", str(BUGS / f"{bug}.patch")], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.resolve().parent)},
    )  # fmt: skip
    if result.returncode != 0:
        raise StalePatch(bug, result.stderr)
