"""A witness at work: takes what its sources have, second by second, until it is told to stop or has to raise an alarm."""

import asyncio
import re
import signal
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from aiokafka.errors import KafkaError

from cli.evidence.sources import Folder, NotThere, Proofs, Source, Topic, Url
from cli.evidence.witness import Witness
from cli.stack.errors import StackError
from ledger.checkpoints import CheckpointError
from ledger.notes import NoteError

_EVERY = 1.0
_BROKER = re.compile(r"[A-Za-z0-9_.-]+:\d+(,[A-Za-z0-9_.-]+:\d+)*")
Say = Callable[[str], None]


def proofs_at(place: str) -> Proofs | None:
    """None for a broker, which has no proofs."""
    if place.startswith(("http://", "https://")):
        return Url(place)
    return None if _BROKER.fullmatch(place) and not Path(place).exists() else Folder(Path(place))


async def watch(witness: Witness, places: Sequence[str], say: Say, *, once: bool) -> bool:
    """Whether all could be looked at the last time; raises Alarm and StateError as the witness does."""
    stopping, told = asyncio.Event(), set[str]()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with AsyncExitStack() as closing:
        sources = [_source(place, closing) for place in sorted(places, key=lambda place: proofs_at(place) is not None)]
        while True:
            problems = set[str]()
            for source in sources:
                await _take(witness, source, say, problems)
            for problem in sorted(problems - told):
                say(problem)
            told = problems
            with suppress(TimeoutError):
                if not once:
                    await asyncio.wait_for(stopping.wait(), _EVERY)
            if once or stopping.is_set():
                return not problems


def _source(place: str, closing: AsyncExitStack) -> Source:
    found = proofs_at(place)
    return found if isinstance(found, Folder | Url) else Topic(place, closing)


async def _take(witness: Witness, source: Source, say: Say, problems: set[str]) -> None:
    try:
        notes = await source.notes()
    except (NotThere, StackError, KafkaError) as error:
        problems.add(f"nothing new: {error}")
        return
    for note in notes:
        try:
            cosigned = witness.look(note)
        except NotThere as error:
            problems.add(f"not cosigned, because nobody proves that the log only grew: {error}")
        except (NoteError, CheckpointError) as error:
            problems.add(f"passed over, because the log did not sign it: {error}")
        else:
            if cosigned:
                say(f"cosigned {cosigned.size:,} entries, root {cosigned.root.hex()}")
