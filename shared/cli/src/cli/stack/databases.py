"""Runs deploy/postgres/provision.sql, which is written for psql, over asyncpg."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg

from cli.stack.paths import DEPLOY

_VARIABLE = re.compile(r""":(?:'(?P<literal>\w+)'|"(?P<name>\w+)")""")
_COMMENT = re.compile(r"^--.*\n", re.MULTILINE)


@dataclass(frozen=True)
class Database:
    """A database with its roles; the field names are the variables of the SQL files."""

    database: str
    owner: str
    owner_password: str
    runtime: str
    runtime_password: str

    retention: str | None = None
    retention_password: str | None = None

    async def provision(self, superuser_dsn: str) -> None:
        """Create them, or bring existing ones to what the files say."""
        await self._run_file("provision.sql", superuser_dsn)
        if self.retention:
            await self._run_file("retention.sql", superuser_dsn)

    async def _run_file(self, name: str, superuser_dsn: str) -> None:
        text = _substitute(_COMMENT.sub("", (DEPLOY / "postgres" / name).read_text()), asdict(self))
        in_cluster, _, in_database = text.partition("\\connect")
        await _run(superuser_dsn, in_cluster)
        await _run(_at(superuser_dsn, self.database), in_database.partition("\n")[2])

    def dsns(self, superuser_dsn: str) -> dict[str, str]:
        """How the roles reach it."""
        roles = {
            "owner": (self.owner, self.owner_password), "runtime": (self.runtime, self.runtime_password),
            "retention": (self.retention, self.retention_password),
        }  # fmt: skip
        return {
            role: _at(superuser_dsn, self.database, f"{quote(name)}:{quote(password)}")
            for role, (name, password) in roles.items()
            if name and password
        }


def note_of(dsn: str) -> str | None:
    """What `leave_note` wrote into this database; it lives and dies with the data."""
    return asyncio.run(_note_of(dsn))


def leave_note(dsn: str, text: str) -> None:
    """Write it as the database's comment; the DSN must be the owner's."""
    name = urlsplit(dsn).path.strip("/")
    asyncio.run(_run(dsn, f"COMMENT ON DATABASE \"{name}\" IS '{text}'"))


async def _note_of(dsn: str) -> str | None:
    connection = await asyncpg.connect(dsn)
    try:
        note: str | None = await connection.fetchval(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"
        )
    finally:
        await connection.close()
    return note


def answers(dsn: str) -> bool:
    """Whether the server takes connections."""
    return asyncio.run(_answers(dsn))


async def _answers(dsn: str) -> bool:
    try:
        connection = await asyncpg.connect(dsn, timeout=2)
        await connection.close()
    except (OSError, TimeoutError, asyncpg.CannotConnectNowError):
        return False
    return True


def _substitute(text: str, variables: Mapping[str, str]) -> str:
    """psql's :'literal' and :"name", quoted as psql quotes them."""

    def quoted(match: re.Match[str]) -> str:
        if literal := match["literal"]:
            return "'" + variables[literal].replace("'", "''") + "'"
        return '"' + variables[match["name"]].replace('"', '""') + '"'

    return _VARIABLE.sub(quoted, text)


async def _run(dsn: str, text: str) -> None:
    """Statements are separated by an empty line; a query before `\\gexec` returns the statements to run."""
    connection = await asyncpg.connect(dsn)
    try:
        for statement in filter(None, (part.strip() for part in text.split("\n\n"))):
            query, gexec, _ = statement.partition("\\gexec")
            for command in [row[0] for row in await connection.fetch(query)] if gexec else [query]:
                await connection.execute(command)
    finally:
        await connection.close()


def _at(dsn: str, database: str, who: str | None = None) -> str:
    parts = urlsplit(dsn)
    user, _, host = parts.netloc.rpartition("@")
    return urlunsplit((parts.scheme, f"{who or user}@{host}", f"/{database}", parts.query, ""))
