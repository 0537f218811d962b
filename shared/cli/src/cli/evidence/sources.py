"""Where a witness hears of checkpoints, and gets the proof that one continues another: a folder, a topic, a service."""

from base64 import b64decode
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

import httpx

from cli.stack.errors import StackError
from ledger.proofs import Span, consistency_proof, consistency_spans
from ledger.tiles import LEVELS, full, read_tile, tile_path, within
from ledger.tree import HASH_BYTES

_WITHIN = 10.0


class NotThere(Exception):
    """Nothing can be read there now; perhaps later."""


class Proofs(Protocol):
    """The hashes that lead from one tree to a larger one; NotThere when there are none to be had now."""

    def path(self, old: int, new: int) -> list[bytes]: ...


class Source(Protocol):
    """Checkpoints that were not read before, in the order in which they were signed; NotThere when nobody answers."""

    async def notes(self) -> Sequence[str]: ...


class Folder:
    """The folder outside. Its hashes are believed no more than anything else: they lead to the signed root, or not."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def notes(self) -> Sequence[str]:
        """The one that lies there."""
        return [self._read("checkpoint").decode(errors="replace")]

    def path(self, old: int, new: int) -> list[bytes]:
        """Computed from the tiles that lie there."""
        hashes: dict[tuple[int, int], bytes] = {}
        for span in consistency_spans(old, new, LEVELS):
            for part in within(span):
                hashes |= self._hashes(part)
        return consistency_proof(old, new, hashes, LEVELS)

    def _hashes(self, part: Span) -> dict[tuple[int, int], bytes]:
        whole = full(part)
        raw, begin = self._tile(whole), part.start - whole.start
        if len(raw) < (part.stop - whole.start) * HASH_BYTES:
            raise NotThere(f"{self._folder}/{tile_path(whole)} does not have the hashes up to {part.stop}")
        cut = [raw[at * HASH_BYTES : (at + 1) * HASH_BYTES] for at in range(begin, part.stop - whole.start)]
        return {(part.level, part.start + n): each for n, each in enumerate(cut)}

    def _tile(self, whole: Span) -> bytes:
        try:
            return read_tile(self._folder, whole)
        except OSError as error:
            raise NotThere(f"{self._folder / tile_path(whole)}: {error.strerror}") from None

    def _read(self, name: str) -> bytes:
        try:
            return (self._folder / name).read_bytes()
        except OSError as error:
            raise NotThere(f"{self._folder / name}: {error.strerror}") from None


class Url:
    """Oversight over HTTP."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    async def notes(self) -> Sequence[str]:
        """The newest."""
        return [self._get("/v1/ledger/checkpoint").text]

    def path(self, old: int, new: int) -> list[bytes]:
        """As the service computes it."""
        told = self._get("/v1/ledger/consistency", old=old, new=new)
        try:
            return [b64decode(each, validate=True) for each in told.json()["path"]]
        except (ValueError, KeyError, TypeError):
            raise NotThere(f"{self._url} does not answer with a proof") from None

    def _get(self, path: str, **params: int) -> httpx.Response:
        try:
            return httpx.get(f"{self._url}{path}", params=params, timeout=_WITHIN).raise_for_status()
        except httpx.HTTPStatusError as error:
            raise NotThere(f"{self._url}{path} answers {error.response.status_code}") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NotThere(f"{self._url} does not answer: {type(error).__name__}") from None


class Topic:
    """Every checkpoint that was published, from the first on. Proofs are elsewhere."""

    def __init__(self, bootstrap: str, closing: AsyncExitStack) -> None:
        self._bootstrap, self._closing = bootstrap, closing
        self._consumer: Any = None

    async def notes(self) -> Sequence[str]:
        """What is new since the last time."""
        from aiokafka.errors import KafkaError

        from cli.events.kafka import reader, up_to_now
        from contracts.topics import CHECKPOINTS

        if self._consumer is None:
            self._consumer = await self._closing.enter_async_context(reader(self._bootstrap, [CHECKPOINTS]))
        places = {tp: await self._consumer.position(tp) for tp in self._consumer.assignment()}
        try:
            return [(record.value or b"").decode(errors="replace") async for record in up_to_now(self._consumer)]
        except (StackError, KafkaError):
            for tp, offset in places.items():
                self._consumer.seek(tp, offset)
            raise
