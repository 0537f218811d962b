"""One whole stack for all end-to-end tests of a session, with people who answer and short deadlines by ordinary settings."""

from collections.abc import Iterator

import pytest
from tests.e2e.world import World
from tests.support.stack import running_stack

from cli.demo.run import SETTINGS
from cli.stack import Stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Kafka, PostgreSQL and the four services; what one test leaves behind is part of the load of the next."""
    with running_stack(tmp_path_factory.mktemp("e2e"), infra_only=False, settings=SETTINGS) as whole:
        yield whole


@pytest.fixture(scope="session")
def world(stack: Stack) -> Iterator[World]:
    """Clients, therapists and desks around the stack, and an ear on everything it says."""
    with World(stack) as people:
        people.list_therapists(60)
        yield people
