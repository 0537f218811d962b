"""Every seeded bug still fits today's code, changes it, and leaves it code that Python reads."""

import os
from pathlib import Path

import pytest
from tests.faults.code import BUGS, StalePatch, UnknownBug, copy, names

from cli.stack.paths import CHECKOUT

EIGHT = {
    "ack-first", "no-inbox", "commit-before-transaction", "id-cursor", "two-relays", "kept-producer", "worker-clock",
    "unguarded-capacity",
}  # fmt: skip


def test_the_eight_bugs_are_there() -> None:
    assert set(names()) >= EIGHT


@pytest.mark.parametrize("bug", names())
def test_a_bug_changes_exactly_what_its_patch_names(bug: str, tmp_path: Path) -> None:
    environment = copy(CHECKOUT, tmp_path / "seeded", bug)
    copy(CHECKOUT, tmp_path / "clean")
    changed = {path for path in _files(tmp_path / "seeded") if _differ(tmp_path, path)}
    assert changed == {Path(line[6:]) for line in (BUGS / f"{bug}.patch").read_text().splitlines() if line.startswith("+++ b/")}
    for path in changed:
        if path.suffix == ".py":
            compile((tmp_path / "seeded" / path).read_text(), path, "exec")
    assert all(Path(folder).is_dir() for folder in environment["PYTHONPATH"].split(os.pathsep))


def _files(folder: Path) -> list[Path]:
    return [path.relative_to(folder) for path in folder.rglob("*") if path.suffix in {".py", ".sql"}]


def _differ(folder: Path, path: Path) -> bool:
    return (folder / "seeded" / path).read_bytes() != (folder / "clean" / path).read_bytes()


def test_an_unknown_bug_is_named_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(UnknownBug, match=r"there is no bug deaf-consumer; there are .*no-inbox"):
        copy(CHECKOUT, tmp_path / "code", "deaf-consumer")


def test_a_patch_that_the_code_has_left_behind_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.faults.code.BUGS", tmp_path)
    file = "shared/messaging/src/messaging/relay.py"
    (tmp_path / "old.patch").write_text(f"--- a/{file}\n+++ b/{file}\n@@ -1 +1 @@\n-gone\n+new\n")
    with pytest.raises(StalePatch, match="the bug old no longer fits the code"):
        copy(CHECKOUT, tmp_path / "code", "old")
