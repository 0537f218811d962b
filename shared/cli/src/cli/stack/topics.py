"""Topics as deploy/kafka/topics.yaml says: missing ones are created, a wrong partition count is an error."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError, for_code

from cli.stack.errors import StackError
from cli.stack.paths import DEPLOY

_EXISTS = 36


@dataclass(frozen=True)
class Topic:
    """A topic as it must be."""

    name: str
    partitions: int
    config: Mapping[str, str] = field(default_factory=dict)


def declared() -> list[Topic]:
    """All topics of deploy/kafka/topics.yaml."""
    document = yaml.safe_load((DEPLOY / "kafka" / "topics.yaml").read_text())
    return [
        Topic(name, said.get("partitions", document["partitions"]), {k: str(v) for k, v in said.get("config", {}).items()})
        for name, said in document["topics"].items()
    ]


async def provision(bootstrap: str, topics: list[Topic], *, within: float = 30) -> None:
    """Create what is missing, check the rest, and make the broker ready for consumer groups."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await _create(admin, topics)
        await _check(admin, topics)
        await _ready_for_groups(admin, time.monotonic() + within)
    finally:
        await admin.close()


async def _create(admin: Any, topics: list[Topic]) -> None:
    existing = set(await admin.list_topics())
    new = [NewTopic(t.name, t.partitions, 1, topic_configs=dict(t.config)) for t in topics if t.name not in existing]
    if not new:
        return
    answer = await admin.create_topics(new)
    for name, code, *message in answer.topic_errors:
        if code not in (0, _EXISTS):
            raise StackError(f"topic {name} could not be created: {for_code(code).__name__} {message}")


async def _check(admin: Any, topics: list[Topic]) -> None:
    wanted = {topic.name: topic.partitions for topic in topics}
    for found in await admin.describe_topics(list(wanted)):
        count = len(found["partitions"])
        if count not in (0, wanted[found["topic"]]):
            raise StackError(
                f"topic {found['topic']} has {count} partitions, not {wanted[found['topic']]}: "
                "order per subject would break; delete it or use an empty stack"
            )


async def _ready_for_groups(admin: Any, deadline: float) -> None:
    """The first look-up creates the offsets topic; without it the first consumer would log errors for a second."""
    while True:
        try:
            await admin.find_coordinator("rapport-provisioning")
        except (GroupCoordinatorNotAvailableError, KafkaError):
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)
        else:
            return
