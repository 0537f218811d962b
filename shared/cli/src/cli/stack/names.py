"""Names of a stack's processes: `intake` is a whole service, `intake-2` its second replica, `intake-relay-2` a role of it."""

import re
from dataclasses import dataclass

from cli.stack.errors import StackError

INFRA = ("kafka", "postgres")
SERVICES = ("intake", "matching", "followup", "oversight")
ROLES = ("serve", "consume", "relay", "timers")
_PROCESS = re.compile(rf"(?P<service>{'|'.join(SERVICES)})(?:-(?P<role>{'|'.join(ROLES)}))?(?:-(?:[2-9]|[1-9]\d+))?")


@dataclass(frozen=True)
class ProcessName:
    """A process's name taken apart; `role` is what it is started with, `run` being all of them."""

    service: str
    role: str = "run"

    @classmethod
    def of(cls, name: str) -> "ProcessName":
        """Raises StackError for a name of no process."""
        found = _PROCESS.fullmatch(name)
        if found is None:
            raise StackError(f"{name} is none of {', '.join((*INFRA, *SERVICES))}, nor a replica or a role of a service")
        return cls(found["service"], found["role"] or "run")

    @property
    def serves(self) -> bool:
        """Whether it can be asked over HTTP."""
        return self.role in ("run", "serve")

    @property
    def consumes(self) -> bool:
        """Whether it reads from Kafka."""
        return self.role in ("run", "consume")

    @property
    def relays(self) -> bool:
        """Whether it sends to Kafka."""
        return self.role in ("run", "relay")


def processes(replicas: int = 1, roles: tuple[str, ...] = ("run",)) -> list[str]:
    """The names of all processes: so many replicas of each service, each role by itself."""
    numbers = ["", *(f"-{number}" for number in range(2, replicas + 1))]
    words = ["" if role == "run" else f"-{role}" for role in roles]
    return [f"{service}{word}{number}" for service in SERVICES for word in words for number in numbers]
