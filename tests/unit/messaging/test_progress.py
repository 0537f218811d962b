"""Up to when a partition with a backlog is read: told by the newest record that is through."""

from datetime import UTC, datetime

import pytest
from aiokafka import TopicPartition

from contracts.topics import CLINICAL, INTAKE
from messaging.progress import _row

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
_OF_ITS_SENDER, _OF_THE_BROKER = 0, 1


@pytest.mark.parametrize(
    ("topic", "stamped", "told"),
    [(CLINICAL, _OF_THE_BROKER, True), (CLINICAL, _OF_ITS_SENDER, False), (INTAKE, _OF_ITS_SENDER, True)],
)
def test_how_far_was_read_is_never_told_by_the_clock_of_a_sender_outside(topic: str, stamped: int, told: bool) -> None:
    row = _row(TopicPartition(topic, 3), NOW, None, (1_000, stamped))
    assert row == ((topic, 3, datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)) if told else None)


def test_of_a_partition_of_which_nothing_is_through_nothing_is_told() -> None:
    assert _row(TopicPartition(INTAKE, 3), NOW, None, None) is None
