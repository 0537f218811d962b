"""The folder meant for another trust domain: the newest checkpoint, and the hashes under it, laid out as C2SP tlog-tiles.

With the leaf hashes out there, who changes an entry and recomputes every hash in the database is found at its index.
"""

import fcntl
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ledger.proofs import ProofError, Span
from ledger.tiles import TILE, grown, read_tile, tile_path
from ledger.tree import HASH_BYTES

ReadHashes = Callable[[Span], Awaitable[list[bytes]]]

_AT_ONCE = 64 * TILE


class OutsideView:
    """A reader of the folder: of the leaf hashes as they lie there, which count only when they lead to the signed root."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._last = folder, (-1, b"")

    @property
    def checkpoint(self) -> str | None:
        """The note that lies there; it is read before the tiles, since those of smaller trees may go."""
        path = self._folder / "checkpoint"
        return path.read_text() if path.exists() else None

    def leaves(self, start: int, stop: int) -> list[bytes]:
        """The leaf hashes [start, stop); OSError or ValueError when a tile is not there as a whole."""
        begin = start // TILE * TILE
        raw = b"".join(self._tile(first, min(first + TILE, stop) - first) for first in range(begin, stop, TILE))
        return [raw[at : at + HASH_BYTES] for at in range((start - begin) * HASH_BYTES, len(raw), HASH_BYTES)]

    def _tile(self, first: int, width: int) -> bytes:
        """The beginning of the widest tile that is there: the folder may have grown since its checkpoint was read."""
        size = width * HASH_BYTES
        if self._last[0] != first or len(self._last[1]) < size:
            self._last = first, read_tile(self._folder, Span(0, first, first + TILE))
        if len(self._last[1]) < size:
            raise ValueError(f"of the {width} leaf hashes from {first} on some are missing")
        return self._last[1][:size]


class Outside(OutsideView):
    """One writer at a time, of all processes that see the folder; readers find either the old or the new checkpoint."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def in_hand(self) -> Iterator[bool]:
        """Whether the folder is ours until the end; False when somebody else writes it."""
        with (self._folder / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    async def extend(self, old: int, new: int, note: str, read: ReadHashes) -> None:
        """Adds the tiles from a tree of `old` leaves to one of `new`, and then its checkpoint."""
        for whole in _together(grown(old, new)):
            hashes = await read(whole)
            if len(hashes) != whole.stop - whole.start:
                raise ProofError(f"hashes of level {whole.level} from {whole.start}", whole.stop - whole.start, len(hashes))
            for first in range(whole.start, whole.stop, TILE):
                tile = Span(whole.level, first, min(first + TILE, whole.stop))
                self._write(tile_path(tile), b"".join(hashes[first - whole.start : tile.stop - whole.start]))
        for folder in {(self._folder / tile_path(span)).parent for span in grown(old, new)}:
            _to_disk(folder)
        self._write("checkpoint", note.encode())
        _to_disk(self._folder)
        for span in grown(old, new):
            self._forget_partial(span)

    def _write(self, name: str, content: bytes) -> None:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.parent / f".{path.name}.{os.getpid()}"
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)

    def _forget_partial(self, span: Span) -> None:
        """Smaller versions of this tile, which nobody needs any more."""
        kept = span.stop - span.start
        for path in (self._folder / tile_path(span._replace(stop=span.start + TILE))).with_suffix(".p").glob("[0-9]*"):
            if int(path.name) < kept:
                path.unlink(missing_ok=True)


def _to_disk(folder: Path) -> None:
    """The names in it are there after a power cut: a checkpoint must never lie over tiles that are not."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _together(tiles: Iterable[Span]) -> Iterator[Span]:
    """Neighbouring tiles of a level as one span, so that it takes one question to read them; not too many of them."""
    whole: Span | None = None
    for tile in tiles:
        if whole and (whole.level, whole.stop) == (tile.level, tile.start) and tile.stop - whole.start <= _AT_ONCE:
            whole = whole._replace(stop=tile.stop)
            continue
        if whole:
            yield whole
        whole = tile
    if whole:
        yield whole
