"""`python -m <service> run | serve | consume | relay | timers | migrate | replay`: the same for every service."""

import argparse
import gc
import sys
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType

from pydantic import ValidationError

from messaging.settings import KitSettings

ROLES = ("serve", "consume", "relay", "timers")


def main(name: str, own: Mapping[str, str] = MappingProxyType({})) -> None:
    """Reads `<name>.settings.Settings`, then runs what `<name>.app.build` puts together, migrates, or reads again.

    `own`: further commands of this service, each with the module whose `main(settings, arguments)` is it.

    Each way imports only what it needs: a migration starts in a second without the broker's client.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=f"The {name} service of Rapport.")
    parser.add_argument("command", choices=["run", *ROLES, "migrate", "replay", *own], help="run = all roles in one process")
    parser.add_argument(
        "more",
        nargs=argparse.REMAINDER,
        help="what replay or ledger takes; ask it with --help",
    )
    asked = parser.parse_args()
    command, settings = asked.command, _settings(name, parser)
    if command == "replay":
        sys.exit(import_module("messaging.replay").main(name, settings, asked.more))
    if command in own:
        sys.exit(import_module(own[command]).main(settings, asked.more))
    if command != "migrate":
        _run(name, settings, ROLES if command == "run" else (command,))
    elif settings.owner_dsn is None:
        parser.exit(2, f"set {name.upper()}_OWNER_DSN to the DSN of the owner role\n")
    else:
        import_module("messaging.migrate").migrate(settings.owner_dsn.get_secret_value(), name)


def _settings(name: str, parser: argparse.ArgumentParser) -> KitSettings:
    try:
        settings: KitSettings = import_module(f"{name}.settings").Settings()
        return settings
    except ValidationError as error:
        wrong = [f"{name.upper()}_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()]
        parser.exit(2, "these settings are missing or wrong:\n  " + "\n  ".join(wrong) + "\n")


def collect_seldom() -> None:
    """Garbage is collected in fewer, larger collections, and what the start has made is left out."""
    gc.freeze()
    gc.set_threshold(50_000, 50, 1_000)


def _run(name: str, settings: KitSettings, roles: tuple[str, ...]) -> None:
    import uvloop

    build = import_module(f"{name}.app").build

    async def run() -> None:
        service = build(settings)
        collect_seldom()
        await service.run(roles)

    uvloop.run(run())
