"""How long things are kept fits together."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from uuid_utils import uuid7

from messaging.pruning import first_id_of
from messaging.settings import KitSettings

TOPICS = Path(__file__).parents[3] / "deploy/kafka/topics.yaml"
BROKERS_DEFAULT = timedelta(days=7)


def test_claims_are_kept_longer_than_any_topic_that_is_read_in_order_keeps_its_records() -> None:
    topics: dict[str, Any] = yaml.safe_load(TOPICS.read_text())["topics"]
    configs = [topic.get("config", {}) for name, topic in topics.items() if not name.endswith("checkpoints.v1")]
    kept = [timedelta(milliseconds=c["retention.ms"]) for c in configs if "retention.ms" in c]
    assert KitSettings.model_fields["inbox_kept"].default > max([*kept, BROKERS_DEFAULT])


def test_ids_given_out_before_an_instant_are_smaller_than_its_first_id_and_later_ones_are_not() -> None:
    now = datetime.now(UTC)
    assert str(uuid7()) > first_id_of(now - timedelta(seconds=1))
    assert str(uuid7()) < first_id_of(now + timedelta(minutes=1))
