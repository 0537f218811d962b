"""What each service says on `<service>.parked.v1`: ids, reason and offset only; bodies stay in the service's database."""

from pydantic import Field

from contracts.event import Event


class RecordParked(Event, type="care.rapport.parked.record-parked.v1"):
    """A record was set aside, with the reason and the place where it can be read; subject = its Kafka position."""

    topic: str = Field(description="topic of the record")
    partition: int = Field(description="its partition")
    offset: int = Field(description="its offset")
    event_source: str | None = Field(default=None, description="source of the event, when the envelope could be read")
    event_id: str | None = Field(default=None, description="id of the event")
    event_type: str | None = Field(default=None, description="type of the event")
    reason: str = Field(description="code of the reason")
    path: str | None = Field(default=None, description="where in the record, never what stands there")
    behind: bool = Field(default=False, description="it only waits behind an earlier parked event of its lane")
    size: int = Field(description="bytes of the value")
    digest: str = Field(
        description="BLAKE2b-256 of the value, keyed with the service's secret, since the value may identify a client"
    )
