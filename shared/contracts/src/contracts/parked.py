"""What each service says on `<service>.parked.v1`: ids, reason and offset only; bodies stay in the service's database."""

from pydantic import Field

from contracts.event import Event


class RecordParked(Event, type="care.rapport.parked.record-parked.v1"):
    """A record was set aside, with the reason and the place where it can be read; subject = its Kafka position."""

    topic: str
    partition: int
    offset: int
    event_source: str | None = None
    event_id: str | None = None
    event_type: str | None = None
    reason: str = Field(description="code of the reason")
    path: str | None = Field(default=None, description="where in the record, never what stands there")
    behind: bool = Field(default=False, description="it only waits behind an earlier parked event of its lane")
    size: int = Field(description="bytes of the value")
    digest: str = Field(description="SHA-256 of the value, keyed with the service's secret")
