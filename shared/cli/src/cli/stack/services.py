"""The services as processes: migrate as the owner, run as the runtime role, ready when /readyz says so."""

import hashlib
import http.client
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cli.stack.context import Context
from cli.stack.databases import leave_note, note_of
from cli.stack.errors import with_last_lines
from cli.stack.health import READY, SILENT, Health
from cli.stack.kafka import Kafka
from cli.stack.ledger import Ledger
from cli.stack.names import ProcessName
from cli.stack.postgres import Postgres
from cli.stack.processes import Running, run, spawn


@dataclass(frozen=True)
class Service:
    """One process of a service; everything it is told comes as <NAME>_* variables."""

    process: str
    context: Context
    stop_signal = signal.SIGTERM
    is_external = False

    @property
    def name(self) -> str:
        """The service it belongs to."""
        return self.said.service

    @property
    def said(self) -> ProcessName:
        """What its name says."""
        return ProcessName.of(self.process)

    @property
    def address(self) -> str:
        """Where its API listens."""
        return f"http://127.0.0.1:{self.context.port(self.process)}"

    def migrate(self) -> None:
        """Run its migrations to the end, with the owner's DSN, which the running service never sees.

        A database that was left by the same migration files is passed over: only to look costs two seconds of CPU per service.
        """
        owner, files = Postgres(self.context).dsn(self.name, "owner"), _digest_of_migrations(self.name)
        if note_of(owner) != files:
            self._run_migrations(owner)
            leave_note(owner, files)

    def _run_migrations(self, owner: str) -> None:
        log = self.context.log(self.name)
        env = self._env() | {f"{self.name.upper()}_OWNER_DSN": owner}
        result = run(self._command("migrate"), cwd=self.context.home, log=log, env=env)
        if result.returncode != 0:
            raise with_last_lines(f"{self.name} could not migrate its database", log)

    def launch(self) -> Running:
        self.context.choose_port(self.process)
        return spawn(self._command(self.said.role), log=self.context.log(self.process), cwd=self.context.home, env=self._env())

    def call(self, *words: str, role: str | None = None) -> int:
        """Run one of its commands to the end, before our eyes, with the DSN of one more role; the answer is its exit code."""
        more = {f"{self.name.upper()}_{role.upper()}_DSN": Postgres(self.context).dsn(self.name, role)} if role else {}
        return subprocess.run(  # noqa: S603
            [*self._command(words[0]), *words[1:]], cwd=self.context.home, env=self._env() | more, check=False
        ).returncode

    def health(self) -> Health:
        """Only a process that serves can be asked; another one is ready when it runs."""
        return _asked(self.context.port(self.process)) if self.said.serves else READY

    def provision(self) -> None:
        """Nothing: its tables came with `migrate`."""

    def _command(self, word: str) -> list[str]:
        return [sys.executable, "-P", "-m", self.name, word]

    def _env(self) -> dict[str, str]:
        ours = {
            "POSTGRES_DSN": Postgres(self.context).dsn(self.name, "runtime"),
            "KAFKA_BOOTSTRAP": Kafka(self.context).address,
            "HTTP_HOST": "127.0.0.1",
            "HTTP_PORT": str(self.context.port(self.process)),
            "SECRET_KEY": self.context.secret(self.name),
        }
        if self.name == "oversight":
            ours |= Ledger(self.context.home).settings()
        given = self.context.settings.env
        named = {f"{self.name.upper()}_{word}": value for word, value in ours.items()}
        return {**os.environ, "PYTHONUNBUFFERED": "1", **named, **given.get("*", {}), **given.get(self.name, {})}


def _digest_of_migrations(service: str) -> str:
    """Of the service's and of the kit's migration files, wherever they are installed."""
    digest = hashlib.sha256()
    for package in (service, "messaging"):
        found = find_spec(package)
        for folder in found.submodule_search_locations or [] if found else []:
            for path in sorted(each for each in Path(folder).glob("migrat*/**/*") if each.suffix in {".py", ".sql"}):
                digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _asked(port: int) -> Health:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return _health_of(json.load(connection.getresponse()))
    except (OSError, http.client.HTTPException, ValueError):
        return SILENT
    finally:
        connection.close()


def _health_of(said: Any) -> Health:
    """Whoever answers may be anybody, so only what a service of ours says counts."""
    status = said.get("status") if isinstance(said, dict) else None
    if status not in ("ok", "failing", "stopped"):
        return SILENT
    missing = "; ".join(f"{name}: {what}" for name, what in said.items() if name != "status")
    return READY if status == "ok" else Health(missing or status, stopped=status == "stopped")
