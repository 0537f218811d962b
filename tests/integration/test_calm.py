"""A client whose broker went away asks for it a few times a second, not as fast as it can."""

import asyncio
from time import monotonic
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient
from tests.support import kit
from tests.support.stack import Infra

from messaging.calm import LEAST_PAUSE, calm
from messaging.service import Service
from messaging.settings import KitSettings

FOR = 1.5


@pytest.mark.parametrize(("calmed", "least", "most"), [(False, 50, None), (True, 2, FOR / LEAST_PAUSE + 2)])
def test_questions_about_a_cluster_that_is_away_have_a_pace(infra: Infra, calmed: bool, least: int, most: float | None) -> None:
    asked = asyncio.run(_questions(infra, calmed))
    assert asked >= least
    assert most is None or asked <= most


def test_the_producers_of_a_service_have_that_pace(infra: Infra) -> None:
    async def scenario() -> bool:
        settings = KitSettings(
            postgres_dsn="postgresql://unused", kafka_bootstrap=infra.bootstrap, secret_key="only-for-this-test"
        )
        producer = Service("followup", settings, kit.ROUTES).new_producer()
        return bool(producer.client._metadata_update.is_calm)

    assert asyncio.run(scenario())


async def _questions(infra: Infra, calmed: bool) -> int:
    """How often a client asks within so many seconds, as a consumer makes it that finds no leader."""
    client = AIOKafkaClient(bootstrap_servers=infra.bootstrap)
    await client.bootstrap()
    asked = 0

    async def nobody(*_: Any, **__: Any) -> None:
        nonlocal asked
        asked += 1

    client._get_conn = nobody
    if calmed:
        calm(client)
        calm(client)
    until = monotonic() + FOR
    try:
        while (left := until - monotonic()) > 0:
            await asyncio.wait([client.force_metadata_update()], timeout=left)
    finally:
        del client._get_conn
        await client.close()
    return asked
