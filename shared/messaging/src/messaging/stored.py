"""A record as it was set aside, read again from its row."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from messaging.parking import headers_of


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """As much of a Kafka record as was kept."""

    topic: str
    partition: int
    offset: int
    headers: Sequence[tuple[str, bytes | None]]
    value: bytes | None


def stored(row: Any) -> StoredRecord:
    """The record of a row of `messaging.parked`."""
    headers = headers_of(json.loads(row["headers"]))
    return StoredRecord(row["topic"], row["part"], row["position"], headers, row["value"])
