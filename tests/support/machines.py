"""Hypothesis on real PostgreSQL: an example is some replicas on emptied tables, and one event loop for all of its steps."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import asyncpg
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test
from tests.support import kit
from tests.support.stack import Infra

from messaging.routes import Routes

T = TypeVar("T")
FACTS = """
    SELECT (SELECT json_agg(json_build_array(subject, body -> 'words')) FROM messaging.state
             WHERE kind = 'journal' AND body IS NOT NULL) AS journals,
           (SELECT json_agg(json_build_array(source, id, outcome)) FROM messaging.inbox) AS inbox,
           (SELECT json_agg(json_build_array(outcome, source, subject, id) ORDER BY n) FROM messaging.parked) AS parked,
           (SELECT json_agg(json_build_array(subject, blocked)) FROM messaging.state WHERE blocked <> '[]') AS blocked,
           (SELECT json_agg(json_build_array(subject, name)) FROM messaging.timer) AS timers,
           (SELECT json_agg(json_build_array(topic, key, messaging.outbox_sequence(headers),
                                             convert_from(value, 'UTF8')::json ->> 'word') ORDER BY n)
              FROM messaging.outbox) AS said"""


def run_often(machine: Callable[[], RuleBasedStateMachine], examples: int, steps: int) -> None:
    """The same examples each time; one that fails is told as it is, since to shorten it takes minutes."""
    often = settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, derandomize=True, database=None,
        phases=(Phase.generate,), suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    run_state_machine_as_test(cast(Any, machine), settings=often)


@dataclass(frozen=True)
class Facts:
    """What the database holds: words by subject, outcomes by claim, what is set aside, closed lanes, timers, what is said."""

    journals: dict[str, list[str]]
    inbox: dict[tuple[str, str], str]
    parked: list[tuple[str, str, str | None, str]]
    blocked: dict[str, set[str]]
    timers: set[tuple[str, str]]
    said: dict[str, dict[str, list[tuple[int, str | None]]]]

    @classmethod
    def of(cls, row: Any) -> "Facts":
        """The facts as the query brings them."""
        found = {name: json.loads(value) if value else [] for name, value in row.items()}
        said: dict[str, dict[str, list[tuple[int, str | None]]]] = defaultdict(lambda: defaultdict(list))
        for topic, key, sequence, word in found["said"]:
            said[topic][key].append((sequence, word))
        return cls(
            dict(found["journals"]), {(source, id): outcome for source, id, outcome in found["inbox"]},
            [tuple(one) for one in found["parked"]], {subject: set(sources) for subject, sources in found["blocked"]},
            {(subject, name) for subject, name in found["timers"]}, said,
        )  # fmt: skip

    def words_said(self, subject: str) -> list[str]:
        """What we said about a subject; its numbers have no gap."""
        said = self.said[kit.OWN_TOPIC][subject]
        assert [number for number, _ in said] == list(range(1, len(said) + 1))
        return [word for _, word in said if word is not None]


class Machine(RuleBasedStateMachine):
    """Two replicas of the service, and a connection of the owner that nothing disturbs."""

    def __init__(self, infra: Infra, routes: Routes = kit.ROUTES) -> None:
        super().__init__()
        self.database = kit.emptied(infra)
        self._runner, self._open = asyncio.Runner(), AsyncExitStack()
        self.run(self._begin(routes))

    async def _begin(self, routes: Routes) -> None:
        self.owner: Any = await asyncpg.connect(self.database.owner_dsn)
        self._open.push_async_callback(self.owner.close)
        self.replicas = await self._open.enter_async_context(kit.replicas(self.database, 2, routes))

    def run(self, act: Coroutine[Any, Any, T]) -> T:
        """One step, in the loop of this example."""
        return self._runner.run(act)

    def facts(self) -> Facts:
        """What is so now."""
        return Facts.of(self.run(self.owner.fetchrow(FACTS)))

    def teardown(self) -> None:
        self.run(self._open.aclose())
        self._runner.close()
