"""Real Kafka and PostgreSQL for tests: one stack per session, a fresh database or topic prefix per test."""

import asyncio
import itertools
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from cli.stack import Stack, StackSettings
from cli.stack.databases import Database
from cli.stack.topics import Topic, provision

_PASSWORD = "for-tests-on-loopback"


@dataclass(frozen=True)
class FreshDatabase:
    """An empty database whose roles have the rights that every service's roles have."""

    name: str
    owner_dsn: str
    runtime_dsn: str
    retention_dsn: str = ""


@dataclass(frozen=True)
class Infra:
    """Kafka and PostgreSQL of this session; nothing made here is seen by another test."""

    stack: Stack
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def bootstrap(self) -> str:
        return self.stack.kafka_bootstrap

    @property
    def superuser_dsn(self) -> str:
        return self.stack.superuser_dsn

    def database(self) -> FreshDatabase:
        """Takes about a tenth of a second; dropped with the stack."""
        roles = ("test_owner", _PASSWORD, "test_runtime", _PASSWORD, "test_retention", _PASSWORD)
        wanted = Database(f"test_{self._unique()}", *roles)
        asyncio.run(wanted.provision(self.superuser_dsn))
        dsns = wanted.dsns(self.superuser_dsn)
        return FreshDatabase(wanted.database, dsns["owner"], dsns["runtime"], dsns["retention"])

    def topic_prefix(self) -> str:
        """No other test uses it, nor the groups that begin with it."""
        return f"t{self._unique()}."

    def topics(self, names: Iterable[str], *, partitions: int = 12, prefix: str | None = None) -> dict[str, str]:
        """Create the topics under a prefix of their own; the answer maps each name to the real one."""
        prefix = self.topic_prefix() if prefix is None else prefix
        real = {name: prefix + name for name in names}
        asyncio.run(provision(self.bootstrap, [Topic(name, partitions) for name in real.values()]))
        return real

    def _unique(self) -> str:
        return f"{os.getpid()}_{next(self._numbers)}"


@contextmanager
def running_stack(home: Path, *, infra_only: bool, settings: StackSettings | None = None) -> Iterator[Stack]:
    """Up, and afterwards gone with all its data, whatever happened in between."""
    stack = Stack(home, settings)
    try:
        stack.up(infra_only=infra_only)
        yield stack
    finally:
        stack.down()
        stack.remove()


def query(dsn: str, sql: str, *values: object) -> list[asyncpg.Record]:
    """One statement on a connection of its own."""
    return asyncio.run(_query(dsn, sql, *values))


async def _query(dsn: str, sql: str, *values: object) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn)
    try:
        return list(await connection.fetch(sql, *values))
    finally:
        await connection.close()
