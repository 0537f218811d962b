"""How far each consumer group is behind, in time: the age of the oldest record that it has not yet committed."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

GROUPS = ("rapport-intake", "rapport-matching", "rapport-followup", "rapport-oversight")
Lags = dict[tuple[str, str], timedelta]


class LagReader:
    """Asks the broker for committed offsets, and reads one record of each partition that is behind."""

    def __init__(self, bootstrap: str) -> None:
        self._admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap, enable_auto_commit=False, max_partition_fetch_bytes=65_536, fetch_max_wait_ms=100
        )

    async def __aenter__(self) -> "LagReader":
        await self._admin.start()
        await self._consumer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()
        await self._admin.close()

    async def lags(self, now: datetime) -> Lags:
        """The lag of each group and topic that the group has ever committed."""
        found: Lags = {}
        for group in GROUPS:
            committed = {tp: at.offset for tp, at in (await self._admin.list_consumer_group_offsets(group)).items()}
            oldest = await self._oldest(committed) if committed else {}
            for tp in committed:
                behind = now - oldest[tp] if tp in oldest else timedelta(0)
                found[group, tp.topic] = max(found.get((group, tp.topic), timedelta(0)), behind)
        return found

    async def _oldest(self, committed: Mapping[TopicPartition, int]) -> dict[TopicPartition, datetime]:
        """When the broker wrote the first record after each committed offset, where there is one."""
        ends = await self._consumer.end_offsets(list(committed))
        behind = [tp for tp, offset in committed.items() if offset < ends[tp]]
        if not behind:
            return {}
        self._consumer.assign(behind)
        for tp in behind:
            self._consumer.seek(tp, committed[tp])
        written: dict[TopicPartition, datetime] = {}
        for _ in range(3):
            for tp, records in (await self._consumer.getmany(*behind, timeout_ms=300)).items():
                written.setdefault(tp, datetime.fromtimestamp(records[0].timestamp / 1000, UTC))
            if len(written) == len(behind):
                break
        return written
