"""Tiles in a folder that grows while it is read."""

from pathlib import Path

import pytest

from ledger.proofs import Span
from ledger.tiles import read_tile, tile_path


def test_a_part_of_a_tile_that_goes_while_it_is_looked_for_is_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, part = Span(0, 256, 512), Span(0, 256, 300)
    small, large = tmp_path / tile_path(part), tmp_path / tile_path(whole)
    small.parent.mkdir(parents=True)
    small.write_bytes(b"small")
    found = Path.glob

    def grown_meanwhile(folder: Path, pattern: str) -> list[Path]:
        seen = list(found(folder, pattern))
        large.write_bytes(b"large")
        small.unlink(missing_ok=True)
        return seen

    monkeypatch.setattr(Path, "glob", grown_meanwhile)
    assert read_tile(tmp_path, whole) == b"large"


def test_of_a_tile_that_is_not_there_nothing_is_read(tmp_path: Path) -> None:
    assert read_tile(tmp_path, Span(8, 0, 256)) == b""
