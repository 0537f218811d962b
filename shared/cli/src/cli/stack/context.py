"""What every part of a stack needs: its folder, its settings, its state, and a way to say what happens."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import Protocol

from cli.stack import ports
from cli.stack.health import Health
from cli.stack.processes import Running
from cli.stack.settings import StackSettings
from cli.stack.state import State, StateFile

Say = Callable[[str], None]


class Part(Protocol):
    """A server or a service: how it starts, how one sees that it is ready, and what is set up on it then."""

    stop_signal: Signals

    @property
    def address(self) -> str: ...
    @property
    def is_external(self) -> bool: ...
    def launch(self) -> Running: ...
    def health(self) -> Health: ...
    def provision(self) -> None: ...


@dataclass(frozen=True)
class Context:
    """Shared by the parts of one stack."""

    home: Path
    settings: StackSettings
    say: Say

    @property
    def file(self) -> StateFile:
        return StateFile(self.home)

    @property
    def state(self) -> State:
        return self.file.read()

    def log(self, name: str) -> Path:
        return self.home / "logs" / f"{name}.log"

    def port(self, name: str) -> int:
        """The port that was chosen when it was last started; 0 before."""
        return self.state.ports.get(name, 0)

    def choose_port(self, name: str) -> int:
        """The same as last time, unless somebody else listens there by now."""
        with self.file.edit() as state:
            state.ports[name] = ports.choose(state.ports.get(name), taken=set(state.ports.values()))
            return state.ports[name]

    def secret(self, name: str) -> str:
        """Made when it is first asked for, kept with the stack."""
        with self.file.edit() as state:
            return state.secret(name)
