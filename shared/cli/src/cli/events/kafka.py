"""Reads topics without a consumer group: from the first record or from now, up to now or for ever."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from cli.stack.errors import StackError
from contracts.topics import CLINICAL, FOLLOWUP, INTAKE, MATCHING, OVERSIGHT, parked_topic

JOURNEY = (INTAKE, MATCHING, FOLLOWUP)
SHOWN = (*JOURNEY, OVERSIGHT, CLINICAL)
PARKED = tuple(parked_topic(service) for service in ("intake", "matching", "followup", "oversight"))


@asynccontextmanager
async def reader(bootstrap: str, topics: Sequence[str], *, from_start: bool = True) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of all partitions that commits nothing and that nobody else notices."""
    partitions = await _partitions(bootstrap, topics)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign(partitions)
        await (consumer.seek_to_beginning() if from_start else consumer.seek_to_end())
        yield consumer
    finally:
        await consumer.stop()


async def up_to_now(consumer: AIOKafkaConsumer) -> AsyncIterator[ConsumerRecord]:
    """Every record that is there when this is called; those of one partition in their order."""
    ends = await consumer.end_offsets(consumer.assignment())
    left = {tp for tp, end in ends.items() if await consumer.position(tp) < end}
    while left:
        for tp, records in (await consumer.getmany(*left, timeout_ms=200)).items():
            for record in records:
                if record.offset < ends[tp]:
                    yield record
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
