"""Reads topics without a consumer group: from the first record or from now, up to now or for ever."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from time import monotonic

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from cli.stack.errors import StackError
from contracts.topics import CLINICAL, FOLLOWUP, INTAKE, MATCHING, OVERSIGHT, parked_topic

JOURNEY = (INTAKE, MATCHING, FOLLOWUP)
SHOWN = (*JOURNEY, OVERSIGHT, CLINICAL)
# So long nothing may come of what is known to be there.
SILENT = 30.0
PARKED = tuple(parked_topic(service) for service in ("intake", "matching", "followup", "oversight"))


@asynccontextmanager
async def reader(bootstrap: str, topics: Sequence[str], *, from_start: bool = True) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of all partitions that commits nothing and that nobody else notices.

    StackError when no broker answers, also for whatever is asked of it inside.
    """
    partitions = await _partitions(bootstrap, topics)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False)
    try:
        await consumer.start()
        consumer.assign(partitions)
        await (consumer.seek_to_beginning() if from_start else consumer.seek_to_end())
        yield consumer
    except KafkaError:
        raise no_broker(bootstrap) from None
    finally:
        await consumer.stop()


async def up_to_now(consumer: AIOKafkaConsumer) -> AsyncIterator[ConsumerRecord]:
    """Every record that is there when this is called; those of one partition in their order.

    StackError when the broker stops answering before the end.
    """
    ends = await consumer.end_offsets(consumer.assignment())
    left = {tp for tp, end in ends.items() if await consumer.position(tp) < end}
    heard_at = monotonic()
    while left:
        found = await consumer.getmany(*left, timeout_ms=200)
        for tp, records in found.items():
            for record in records:
                if record.offset < ends[tp]:
                    yield record
        if found:
            heard_at = monotonic()
        elif monotonic() - heard_at > SILENT:
            raise StackError(f"the broker stopped answering: {len(left)} partitions were not read to their end")
        left = {tp for tp in left if await consumer.position(tp) < ends[tp]}


def no_broker(bootstrap: str) -> StackError:
    """The sentence for a broker that does not answer."""
    return StackError(f"no broker answers at {bootstrap}: start one with rapport up, or set RAPPORT_KAFKA_BOOTSTRAP")


async def _partitions(bootstrap: str, topics: Sequence[str]) -> list[TopicPartition]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        found = {each["topic"]: each["partitions"] for each in await admin.describe_topics(list(topics))}
    except KafkaError:
        raise no_broker(bootstrap) from None
    finally:
        await admin.close()
    if missing := sorted(topic for topic in topics if not found.get(topic)):
        raise StackError(f"there is no topic {', '.join(missing)}; deploy/kafka/topics.yaml lists them")
    return [TopicPartition(topic, each["partition"]) for topic in topics for each in found[topic]]
