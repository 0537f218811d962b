"""A witness hears every checkpoint that was published, once each, from a real broker."""

import asyncio
from contextlib import AsyncExitStack

from aiokafka import AIOKafkaProducer
from tests.support.stack import Infra

from cli.evidence.sources import Topic
from contracts.topics import CHECKPOINTS


def test_a_topic_tells_what_is_new_since_the_last_time(infra: Infra) -> None:
    infra.topics([CHECKPOINTS], partitions=1, prefix="")

    async def run() -> None:
        async with AIOKafkaProducer(bootstrap_servers=infra.bootstrap) as producer, AsyncExitStack() as closing:
            topic = Topic(infra.bootstrap, closing)
            before = len(await topic.notes())
            for text in ("first", "second"):
                await producer.send_and_wait(CHECKPOINTS, text.encode())
            assert await topic.notes() == ["first", "second"]
            assert await topic.notes() == []
            await producer.send_and_wait(CHECKPOINTS, b"\xff third")
            assert len(await topic.notes()) == 1
            assert len(await Topic(infra.bootstrap, closing).notes()) == before + 3

    asyncio.run(run())
