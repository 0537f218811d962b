"""A folder that no stack has made is left as it is, whatever is asked."""

from pathlib import Path

import pytest

from cli.stack import Stack, processes
from cli.stack.errors import StackError
from cli.stack.processes import Running


def test_nothing_is_written_to_or_deleted_from_a_folder_that_holds_something_else(tmp_path: Path) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    for folder in (home, other):
        folder.mkdir()
        (folder / "mine").write_text("kept")
    (home / "postgres").symlink_to(other)
    for act in (Stack(home).down, Stack(home).remove):
        with pytest.raises(StackError, match="it holds mine; nothing was touched"):
            act()
    assert sorted(each.name for each in home.iterdir()) == ["mine", "postgres"]
    assert (other / "mine").read_text() == "kept"


def test_a_link_that_is_not_ours_is_removed_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    for folder in (home, other):
        folder.mkdir()
    (other / "mine").write_text("kept")
    (home / "postgres").symlink_to(other)
    Stack(home).remove()
    assert not home.exists()
    assert (other / "mine").read_text() == "kept"


@pytest.mark.parametrize("act", ["kill", "stop"])
def test_who_took_the_place_of_a_process_that_ends_is_not_forgotten(
    act: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack, old, new = Stack(tmp_path / "home"), Running(pid=1, started=1.0), Running(pid=2, started=2.0)

    def begun(process: Running) -> None:
        with stack._context.file.edit() as state:
            state.processes["intake"] = process

    def replaced(*_: object, **__: object) -> None:
        begun(new)

    begun(old)
    monkeypatch.setattr(processes, "alive", lambda process: process is not None)
    monkeypatch.setattr(processes, act, replaced)
    getattr(stack, act)("intake")
    assert stack.pid("intake") == new.pid
    monkeypatch.setattr(processes, act, lambda *_, **__: None)
    getattr(stack, act)("intake")
    assert stack.pid("intake") is None
