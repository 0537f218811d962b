"""Everything that a stack has written: topics, logs, metrics and tables, each piece with the place where it stands."""

from collections.abc import Iterable, Iterator
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from tests.e2e.world import World
from tests.support.stack import query

from cli.events.kafka import up_to_now
from cli.stack import SERVICES, Stack
from contracts.topics import REFERRALS

Piece = tuple[str, bytes]

# Where identity may stand: what integrators say to intake, intake's identity store, and the records that intake could not
# process, which stay in its database until a person has looked at them: their bodies, and the attributes of the event.
MAY_HOLD_IDENTITY = frozenset({f"topic {REFERRALS}", "intake.public.identity", "intake.messaging.parked.value"})
PARKED_HEADERS = "intake.messaging.parked.headers"

# Each value of each row, by its column.
_COLUMNS = "SELECT c.key, c.value FROM {table} t, jsonb_each_text(to_jsonb(t)) c WHERE c.value IS NOT NULL"
_TABLES = """
SELECT format('%I.%I', table_schema, table_name) AS name FROM information_schema.tables
 WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1
"""


def topics(world: World) -> Iterator[Piece]:
    """Keys, headers and values of every record of every topic, the broker's own included."""
    yield from _together(world.call(_records(world.stack.kafka_bootstrap)))


def logs(stack: Stack) -> Iterator[Piece]:
    """Every line that a service, the broker or PostgreSQL logged, and the other files of the home but the servers' data."""
    for path in sorted(stack.home.rglob("*")):
        name = path.relative_to(stack.home)
        if path.is_file() and not {"data", "postgres"} & set(name.parts[:-1]):
            for number, line in enumerate(path.read_bytes().splitlines(), 1):
                yield f"{name}, line {number}", line


def metrics(world: World) -> Iterator[Piece]:
    """The metrics of all services."""
    for service in SERVICES:
        yield f"metrics of {service}", world.get(service, "/metrics").content


def tables(stack: Stack) -> Iterator[Piece]:
    """Every column of every row of every table and view of the four databases."""
    for service in SERVICES:
        dsn = stack.dsn(service, "owner")
        for table in query(dsn, _TABLES):
            columns = query(dsn, _COLUMNS.format(table=table["name"]))
            yield from _together((f"{service}.{table['name']}.{row['key']}", _bytes(row["value"])) for row in columns)


def may_stand(word: str, where: str) -> bool:
    """Whether this word of an identity may stand there."""
    if where == PARKED_HEADERS:
        return word.lower().startswith("canaryattribute")
    return any(where == place or where.startswith((f"{place},", f"{place}.")) for place in MAY_HOLD_IDENTITY)


def _together(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """All that stands in one place as one piece, since that is searched much faster."""
    found: dict[str, list[bytes]] = {}
    for where, piece in pieces:
        found.setdefault(where, []).append(piece)
    return ((where, b"\n".join(each)) for where, each in found.items())


def _bytes(shown: str) -> bytes:
    """What PostgreSQL shows as `\\x…` is bytes."""
    return bytes.fromhex(shown[2:]) if shown.startswith("\\x") else shown.encode()


async def _records(bootstrap: str) -> list[Piece]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False)
    await admin.start()
    await consumer.start()
    try:
        described = await admin.describe_topics(await admin.list_topics())
        consumer.assign([TopicPartition(t["topic"], p["partition"]) for t in described for p in t["partitions"]])
        return [piece async for record in up_to_now(consumer) for piece in _pieces(record)]
    finally:
        await consumer.stop()
        await admin.close()


def _pieces(record: Any) -> Iterator[Piece]:
    yield f"topic {record.topic}, key", record.key or b""
    yield f"topic {record.topic}, value", record.value or b""
    for name, raw in record.headers:
        yield f"topic {record.topic}, header {name}", name.encode() + b": " + (raw or b"")
