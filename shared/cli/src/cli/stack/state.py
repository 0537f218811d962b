"""stack.json: ports, DSNs, pids and secrets of one stack, readable by its owner alone."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, Field

from cli.stack.processes import Running


class State(BaseModel):
    """All that a stack remembers between two commands; `demo`: its clients were invented by a demo."""

    ports: dict[str, int] = Field(default_factory=dict)
    dsns: dict[str, dict[str, str]] = Field(default_factory=dict)
    processes: dict[str, Running] = Field(default_factory=dict)
    secrets: dict[str, str] = Field(default_factory=dict)
    demo: bool = False

    def secret(self, name: str) -> str:
        """Made when it is first asked for."""
        return self.secrets.setdefault(name, secrets.token_urlsafe(32))


class StateFile:
    """Every change is one locked read-change-rename, so threads and other processes may change it at the same time."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.path = home / "stack.json"

    def read(self) -> State:
        return State.model_validate_json(self.path.read_text()) if self.path.exists() else State()

    @contextmanager
    def edit(self) -> Iterator[State]:
        with locked(self._home / "stack.lock"):
            state = self.read()
            yield state
            fresh = self.path.with_suffix(".new")
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(state.model_dump_json(indent=2))
            fresh.rename(self.path)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One at a time, across threads and processes; the lock goes when its holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
