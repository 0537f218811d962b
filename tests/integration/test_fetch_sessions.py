"""A consumer that fetches in sessions reads what every consumer reads, and names only what changed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import time
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import RequestTimedOutError
from aiokafka.protocol.fetch import FetchRequest
from tests.support.stack import Infra

from messaging.sessions import in_sessions

PARTITIONS = 12
# What a broker says of a session that it has forgotten, and of a number that is not the next.
FORGOTTEN, NOT_THE_NEXT = 70, 71


@dataclass
class Talk:
    """What one consumer asked for and was answered; `then` is called once, with an answer before the client has it."""

    topic: str
    consumer: Any
    producer: AIOKafkaProducer
    named: list[int] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)
    errors: list[int] = field(default_factory=list)
    then: Callable[[Any], None] | None = None

    def listen(self) -> None:
        send = self.consumer._client.send

        async def heard(node_id: int, request: Any, **more: Any) -> Any:
            if not isinstance(request, FetchRequest):
                return await send(node_id, request, **more)
            build = request.build

            def noted(version: Any) -> Any:
                built = build(version)
                self.named.append(sum(len(partitions) for _, partitions in built.topics))
                return built

            request.build = noted
            answer = await send(node_id, request, **more)
            self.answered.append(sum(len(partitions) for _, partitions in answer.topics))
            self.errors.append(answer.error_code)
            if self.then and answer.topics:
                then, self.then = self.then, None
                then(answer)
            return answer

        self.consumer._client.send = heard

    async def say(self, *words: str, partition: int = 0) -> None:
        for word in words:
            await self.producer.send_and_wait(self.topic, word.encode(), partition=partition)

    async def read(self, count: int) -> list[tuple[int, str]]:
        found: list[tuple[int, str]] = []
        async with asyncio.timeout(20):
            while len(found) < count:
                for place, records in (await self.consumer.getmany(timeout_ms=200)).items():
                    found += [(place.partition, record.value.decode()) for record in records]
        return found

    def session(self) -> Any:
        """The session with the one broker."""
        (session,) = self.consumer._client.send.__self__.sessions.values()
        return session


@asynccontextmanager
async def talking(infra: Infra, topic: str) -> AsyncIterator[Talk]:
    async with (
        AIOKafkaProducer(bootstrap_servers=infra.bootstrap) as producer,
        AIOKafkaConsumer(bootstrap_servers=infra.bootstrap, auto_offset_reset="earliest", fetch_max_wait_ms=100) as consumer,
    ):
        talk = Talk(topic, consumer, producer)
        talk.listen()
        in_sessions(consumer)
        consumer.assign([TopicPartition(topic, n) for n in range(PARTITIONS)])
        yield talk


def scenario(infra: Infra, told: Callable[[Talk], Coroutine[Any, Any, None]]) -> None:
    topic = infra.topics(["told"], partitions=PARTITIONS)["told"]

    async def run() -> None:
        async with talking(infra, topic) as talk:
            await talk.say("w0", partition=3)
            assert await talk.read(1) == [(3, "w0")]
            await told(talk)

    asyncio.run(run())


def test_after_the_first_fetch_only_what_was_read_is_named(infra: Infra) -> None:
    async def told(talk: Talk) -> None:
        for number in range(1, 6):
            await talk.say(f"w{number}", partition=number)
            assert await talk.read(1) == [(number, f"w{number}")]
        assert talk.named[0] == PARTITIONS
        assert max(talk.named[1:]) <= 2
        assert max(talk.answered[1:]) <= 2
        assert not any(talk.errors)

    scenario(infra, told)


@pytest.mark.parametrize("error", [FORGOTTEN, NOT_THE_NEXT])
def test_a_session_that_the_broker_does_not_know_is_begun_anew(infra: Infra, error: int) -> None:
    async def told(talk: Talk) -> None:
        if error == FORGOTTEN:
            talk.session().id += 1
        else:
            talk.session()._epoch += 7
        await talk.say("w1", "w2")
        assert await talk.read(2) == [(0, "w1"), (0, "w2")]
        assert error in talk.errors
        assert talk.named[talk.errors.index(error) + 1] == PARTITIONS

    scenario(infra, told)


@pytest.mark.parametrize("broken", [RequestTimedOutError(), asyncio.CancelledError()])
def test_what_an_answer_brought_that_was_lost_is_brought_again(infra: Infra, broken: BaseException) -> None:
    def breaks(_: Any) -> None:
        raise broken

    async def told(talk: Talk) -> None:
        talk.then = breaks
        await talk.say("w1", "w2")
        assert await talk.read(2) == [(0, "w1"), (0, "w2")]
        assert talk.named.count(PARTITIONS) == 2

    scenario(infra, told)


def test_a_partition_that_rests_is_not_brought_and_goes_on_where_it_was(infra: Infra) -> None:
    async def told(talk: Talk) -> None:
        resting = TopicPartition(talk.topic, 3)
        talk.consumer.pause(resting)
        await talk.say("w1", partition=3)
        await talk.say("w1", partition=4)
        assert await talk.read(1) == [(4, "w1")]
        talk.consumer.resume(resting)
        assert await talk.read(1) == [(3, "w1")]

    scenario(infra, told)


def test_what_is_sought_again_is_brought_again(infra: Infra) -> None:
    async def told(talk: Talk) -> None:
        talk.consumer.seek(TopicPartition(talk.topic, 3), 0)
        assert await talk.read(1) == [(3, "w0")]

    scenario(infra, told)


def test_a_partition_with_nothing_new_was_answered_too(infra: Infra) -> None:
    async def told(talk: Talk) -> None:
        await talk.say("w1", partition=5)
        await talk.read(1)
        began = time() * 1000
        await talk.consumer.getmany(timeout_ms=500)
        for number in range(PARTITIONS):
            place = TopicPartition(talk.topic, number)
            assert talk.consumer.last_poll_timestamp(place) > began
            assert talk.consumer.last_stable_offset(place) == await talk.consumer.position(place)

    scenario(infra, told)


def test_a_partition_whose_answer_the_client_drops_is_told_again(infra: Infra) -> None:
    async def told(talk: Talk) -> None:
        place = TopicPartition(talk.topic, 7)
        talk.then = lambda _: talk.consumer.seek(place, 1)
        await talk.say("w1", partition=7)
        async with asyncio.timeout(10):
            while talk.consumer.last_stable_offset(place) != 1:
                await talk.consumer.getmany(timeout_ms=50)
        assert await talk.consumer.position(place) == 1

    scenario(infra, told)


def test_what_a_throttling_broker_passes_over_was_not_answered() -> None:
    place = TopicPartition("told", 0)
    state = SimpleNamespace(has_valid_position=True, position=4, timestamp=None)
    assignment = SimpleNamespace(active=True, state_value={place: state}.get)
    answer = SimpleNamespace(API_VERSION=11, error_code=0, session_id=9, throttle_time_ms=50, topics=[])
    subscription = SimpleNamespace(subscription=SimpleNamespace(assignment=assignment))

    async def send(*_: Any, **__: Any) -> Any:
        return answer

    consumer = SimpleNamespace(_client=SimpleNamespace(send=send), _subscription=subscription)
    in_sessions(consumer)
    for throttled, noted in ((50, False), (0, True)):
        answer.throttle_time_ms = throttled
        asyncio.run(consumer._client.send(1, FetchRequest(1, 1, 1, 1, [("told", [(0, 4, 1)])])))
        assert (state.timestamp is not None) == noted


def test_another_assignment_begins_with_everything_so_that_each_partition_is_known(infra: Infra) -> None:
    async def told(talk: Talk) -> None:
        in_sessions(talk.consumer)
        talk.consumer.assign([TopicPartition(talk.topic, n) for n in range(PARTITIONS)])
        assert await talk.read(1) == [(3, "w0")]
        ends = [talk.consumer.last_stable_offset(TopicPartition(talk.topic, n)) for n in range(PARTITIONS)]
        assert ends == [0, 0, 0, 1, *[0] * 8]

    scenario(infra, told)
