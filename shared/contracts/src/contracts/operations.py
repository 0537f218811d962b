"""What every service says about its own work, not about care; each owner publishes these under its own type."""

from typing import Literal

from pydantic import Field

from contracts.event import Event, Part
from contracts.vocabulary import Instant


class ShardPosition(Part):
    """How much was said in one partition of the owner's topic, up to one event."""

    partition: int = Field(ge=0, description="partition of the owner's topic")
    count: int = Field(ge=0, description="events said in it so far, each counted once")
    last_id: str = Field(description="id of the newest event counted; the count holds at its first occurrence in the partition")
    digest: str = Field(
        description="16 hex digits: the sum modulo 2^64 of the first 8 bytes, big-endian, of SHA-256 of every id counted"
    )


class OutboxPosition(Event):
    """What should be there: what this source has said so far, partition by partition; subject = source.

    Only partitions in which something was said since the last OutboxPosition are listed.
    """

    count: int = Field(ge=0, description="events counted in all partitions together")
    last_sequence: int = Field(ge=0, description="the highest number of any subject among what was newly counted")
    shards: tuple[ShardPosition, ...] = Field(description="the partitions that moved")
    at: Instant = Field(description="when it was counted")


class OperatorActed(Event):
    """A person did something to the machinery; subject = episode, or the source when it concerns no episode."""

    operator: str = Field(description="who did it")
    action: Literal["retry", "discard", "resume", "replay"] = Field(description="what was done")
    reason: str | None = Field(default=None, description="why, as a code; always there for a discard")
    event_source: str | None = Field(default=None, description="source of the event it was done to")
    event_id: str | None = Field(default=None, description="id of that event")
    event_type: str | None = Field(default=None, description="type of that event, when it could be read")
    topic: str | None = Field(default=None, description="topic of its record")
    partition: int | None = Field(default=None, description="partition of its record")
    offset: int | None = Field(default=None, description="offset of its record")
    count: int | None = Field(default=None, ge=0, description="how many events it was done to, when it was not one")


class GapFound(Event):
    """Numbers of one source about one subject are missing here; subject = the subject of the missing events."""

    event_source: str = Field(description="source whose events are missing")
    first: int = Field(ge=1, description="first missing number")
    last: int = Field(ge=1, description="last missing number")
    closed: bool = Field(default=False, description="true when they arrived after all")
