"""What every service does about its own work beside its work: gaps announced, positions told, old rows forgotten."""

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Query

from messaging import listing
from messaging.chores import Chore, Chores
from messaging.gaps import Announcer, open_gaps
from messaging.positions import Positions
from messaging.pruning import Pruning

if TYPE_CHECKING:
    from messaging.service import Service

_COUNT_PARKED = timedelta(seconds=5)
_LOOK_FOR_GAPS, _PRUNE = timedelta(seconds=2), timedelta(seconds=10)


def chores_of(service: "Service") -> Chores:
    """The chores of every service, and those that it has added."""
    pool, settings, source = service.pool, service.settings, service.source
    announcer = Announcer(pool, service.processor, service.routes, source, service.meters)
    positions = Positions(pool, service.processor, source, service.topic)
    pruning = Pruning(pool, source, settings.outbox_kept, settings.inbox_kept)
    return Chores(
        [
            Chore("gaps", announcer.turn, _LOOK_FOR_GAPS), Chore("positions", positions.turn, settings.position_every),
            Chore("pruning", pruning.turn, _PRUNE), *service.chores,
            Chore("parked", partial(listing.count, pool, service.meters), _COUNT_PARKED),
        ]
    )  # fmt: skip


def add_api(app: FastAPI, service: "Service") -> None:
    """Adds what `rapport status` asks."""

    @app.get("/v1/gaps")
    async def read_gaps(limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[dict[str, Any]]:
        """Numbers that are missing here, per source and subject, the oldest gap first."""
        return await open_gaps(service.pool, limit)
