"""What oversight says on `oversight.events.v1`; it decides nothing about care."""

from typing import Literal

from pydantic import Field

from contracts import operations
from contracts.event import Event
from contracts.vocabulary import Code


class LedgerRead(Event, type="care.rapport.oversight.ledger-read.v1"):
    """Somebody read the record of one client; subject = episode."""

    reader: str = Field(description="who read it")
    purpose: str = Field(description="for what purpose")
    entries: int = Field(ge=0, description="how many events were shown")


class OutboxPosition(operations.OutboxPosition, type="care.rapport.oversight.outbox-position.v1"): ...


class OperatorActed(operations.OperatorActed, type="care.rapport.oversight.operator-acted.v1"): ...


class GapFound(operations.GapFound, type="care.rapport.oversight.gap-found.v1"): ...


class ContentErased(Event, type="care.rapport.oversight.content-erased.v1"):
    """The bodies of these entries of the ledger are erased, now that this is on record; subject = oversight's source.

    The entries stay where they are, under the same root: of an erased body the ledger keeps a salted digest.
    """

    operator: str = Field(description="who asked for it")
    reason: Code = Field(description="why, such as `retention`")
    first: int = Field(ge=0, description="index of the first entry")
    stop: int = Field(ge=1, description="index after the last one")


class ReconciliationFailed(Event, type="care.rapport.oversight.reconciliation-failed.v1"):
    """What a source says it has said in one partition is not what is on record; subject = that source."""

    event_source: str = Field(description="source whose OutboxPosition it is")
    topic: str = Field(description="its topic")
    partition: int = Field(ge=0, description="partition of that topic")
    problem: Literal["last-missing", "differs", "counts-backwards"] = Field(
        description="its newest event is not there; other events are there than it says; it says less than before"
    )
    claimed: int = Field(ge=0, description="events the source counts up to `last_id`")
    found: int | None = Field(default=None, ge=0, description="events on record up to it, where that is there")
    last_id: str = Field(description="id of the newest event counted")
    resolved: bool = Field(default=False, description="true when it came right after all")
