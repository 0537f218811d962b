"""Fixtures that all tests share."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.stack import Stack

# pytest's importlib mode leaves the root off the path, and `tests.support` is imported from there.
sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.stack import Infra, running_stack


@pytest.fixture(scope="session")
def infra(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Infra]:
    """Kafka and PostgreSQL, started by the first test that asks."""
    with running_stack(tmp_path_factory.mktemp("infra"), infra_only=True) as stack:
        yield Infra(stack)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Everything, the four services included, with their default settings."""
    with running_stack(tmp_path_factory.mktemp("stack"), infra_only=False) as whole:
        yield whole
