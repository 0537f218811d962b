"""How hashes of a log are laid out as files (C2SP tlog-tiles): which tiles a tree of a size has, and what they are called."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ledger.proofs import Span

# A tile has the hashes of eight levels of the tree: those at its own level, and what is computed from them.
TILE, LEVELS = 256, 8
_LOOKS = 5


def within(span: Span) -> Iterator[Span]:
    """The parts of a span of stored hashes, each in one tile."""
    for first in range(span.start // TILE * TILE, span.stop, TILE):
        yield Span(span.level, max(first, span.start), min(first + TILE, span.stop))


def full(span: Span) -> Span:
    """The whole tile that a part of it is in."""
    first = span.start // TILE * TILE
    return Span(span.level, first, first + TILE)


def grown(old: int, new: int) -> Iterator[Span]:
    """The tiles that have other hashes under `new` leaves than under `old`; the last of each level may be partial."""
    level = 0
    while new >> level:
        if old >> level < new >> level:
            for first in range((old >> level) // TILE * TILE, new >> level, TILE):
                yield Span(level, first, min(first + TILE, new >> level))
        level += LEVELS


def read_tile(folder: Path, whole: Span) -> bytes:
    """The hashes of a tile as they lie in a folder, or of the widest part of it; none when there is nothing. OSError else.

    While the folder grows, a part goes once a wider one is there, also between looking for it and reading it.
    """
    path = folder / tile_path(whole)
    for _ in range(_LOOKS):
        parts = sorted(path.with_suffix(".p").glob("[0-9]*"), key=lambda part: int(part.name), reverse=True)
        for each in (path, *parts):
            with suppress(FileNotFoundError):
                return each.read_bytes()
    return b""


def tile_path(span: Span) -> str:
    """`tile/<level>/<index>`, with `.p/<width>` when partial (C2SP tlog-tiles); a level of tiles is 8 levels of the tree."""
    number, parts = span.start // TILE, list[str]()
    while number or not parts:
        parts.insert(0, f"{'x' if parts else ''}{number % 1000:03}")
        number //= 1000
    width = span.stop - span.start
    return f"tile/{span.level // LEVELS}/{'/'.join(parts)}" + (f".p/{width}" if width < TILE else "")
