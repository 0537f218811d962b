"""`python -m <service> run | serve | consume | relay | timers | migrate`: the same for every service."""

import argparse
import gc
from collections.abc import Callable
from typing import Any

import uvloop

from messaging.migrate import migrate
from messaging.service import ROLES, Service
from messaging.settings import KitSettings


def main(name: str, settings: Callable[[], KitSettings], build: Callable[[Any], Service]) -> None:
    """Parses the one argument, checks the settings, and runs or migrates."""
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=f"The {name} service of Rapport.")
    parser.add_argument("command", choices=["run", *ROLES, "migrate"], help="run = all roles in one process")
    command = parser.parse_args().command
    checked = settings()
    if command == "migrate":
        if checked.owner_dsn is None:
            parser.exit(2, f"set {name.upper()}_OWNER_DSN to the DSN of the owner role\n")
        migrate(checked.owner_dsn.get_secret_value(), name)
        return
    uvloop.run(_run(build, checked, ROLES if command == "run" else (command,)))


async def _run(build: Callable[[Any], Service], settings: KitSettings, roles: tuple[str, ...]) -> None:
    service = build(settings)
    gc.freeze()
    await service.run(roles)
