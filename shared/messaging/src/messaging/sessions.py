"""Fetch sessions (KIP-227), which aiokafka has not: a fetch names only what changed since the last one, and so does its answer.

Without them each fetch and each answer names every partition of every topic that is read, which costs client and broker more
than the few records in it do.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from time import time
from typing import Any

from aiokafka import TopicPartition
from aiokafka.protocol.fetch import FetchRequest

_FIRST_WITH_SESSIONS, _LAST_EPOCH = 7, 2**31 - 1
Place = tuple[str, int]


class Session:
    """What one broker was told to bring, and under which number; after any trouble a new one takes its place.

    Invariant: `_told` is what the broker holds of this session, or the session is begun anew before the next fetch.
    """

    def __init__(self, instead_of: int = 0) -> None:
        self.id = instead_of
        self.forget()

    def forget(self) -> None:
        """The next fetch begins a new session and names everything; the broker gives up the one that had this number."""
        self._epoch, self._told = 0, dict[Place, tuple[Any, ...]]()

    def build(self, plain: Callable[[Any], Any], version: Any) -> Any:
        """A fetch as it goes to the broker: what is new or read further, and what is not wanted any more."""
        fetch = plain(version)
        if version.API_VERSION >= _FIRST_WITH_SESSIONS:
            wanted = {(topic, each[0]): each for topic, partitions in fetch.topics for each in partitions}
            changed = {place: each for place, each in wanted.items() if self._told.get(place) != each}
            fetch.session_id, fetch.session_epoch = self.id, self._epoch
            fetch.topics = _by_topic((topic, each) for (topic, _), each in changed.items())
            fetch.forgotten_topics_data = _by_topic(self._told.keys() - wanted.keys())
            self._told = wanted
        return fetch

    def answered(self, answer: Any) -> bool:
        """Whether the session goes on: the broker may have none left, or have forgotten this one."""
        if answer.API_VERSION < _FIRST_WITH_SESSIONS or answer.error_code or not answer.session_id:
            self.forget()
            return False
        self.id, self._epoch = answer.session_id, self._epoch % _LAST_EPOCH + 1
        return True


class Fetching:
    """The way of one consumer's requests to its brokers: each fetch belongs to the session with its broker."""

    def __init__(self, consumer: Any) -> None:
        self._consumer, before = consumer, getattr(consumer._client.send, "__self__", None)
        self._send: Any = before._send if isinstance(before, Fetching) else consumer._client.send
        self.sessions = defaultdict[int, Session](Session)
        if isinstance(before, Fetching):
            self.sessions |= {node: Session(instead_of=session.id) for node, session in before.sessions.items()}

    async def send(self, node_id: int, request: Any, **more: Any) -> Any:
        """As the client's own, which it takes the place of."""
        subscription = self._consumer._subscription.subscription
        if not isinstance(request, FetchRequest) or not subscription or not subscription.assignment:
            return await self._send(node_id, request, **more)
        session, assignment = self.sessions[node_id], subscription.assignment
        request.build = partial(session.build, request.build)
        try:
            answer = await self._send(node_id, request, **more)
        except BaseException:
            session.forget()
            raise
        finally:
            del request.build
        # A broker that throttles passes over partitions that have something new.
        if session.answered(answer) and not answer.throttle_time_ms and not _kept(assignment, request.topics, answer.topics):
            session.forget()
        return answer


def in_sessions(consumer: Any) -> None:
    """From now on a consumer fetches in sessions, one with each broker; said again, as at each assignment, they begin anew."""
    consumer._client.send = Fetching(consumer).send


def _kept(assignment: Any, asked: Any, brought: Any) -> bool:
    """Notes when a partition was answered that had nothing new; False when the client will drop some of what was brought.

    What it drops it does not know, and a broker that has told it once would pass it over.
    """
    now, told = int(time() * 1000), {(topic, each[0]) for topic, partitions in brought for each in partitions}
    for topic, partitions in asked:
        for partition, offset, _ in partitions:
            state = assignment.state_value(TopicPartition(topic, partition))
            stands = state is not None and state.has_valid_position and state.position == offset
            if (topic, partition) not in told and stands:
                state.timestamp = now
            elif (topic, partition) in told and not stands:
                return False
    return bool(assignment.active)


def _by_topic(places: Iterable[tuple[str, Any]]) -> list[tuple[str, list[Any]]]:
    topics = defaultdict[str, list[Any]](list)
    for topic, each in places:
        topics[topic].append(each)
    return list(topics.items())
