"""A folder that no stack has made is left as it is, whatever is asked."""

from pathlib import Path

import pytest

from cli.stack import Stack
from cli.stack.errors import StackError


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
