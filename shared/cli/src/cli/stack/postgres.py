"""PostgreSQL with one database and its roles per service: a cluster of our own on loopback, or a server that runs already."""

import asyncio
from dataclasses import dataclass, replace

from cli.stack.context import Context
from cli.stack.databases import Database, answers
from cli.stack.errors import StackError
from cli.stack.health import READY, SILENT, Health
from cli.stack.names import SERVICES
from cli.stack.postgres_cluster import FAST_SHUTDOWN, SUPERUSER, PostgresCluster
from cli.stack.processes import Running


@dataclass(frozen=True)
class Postgres:
    """Passwords are made per stack and kept in its stack.json."""

    context: Context
    stop_signal = FAST_SHUTDOWN

    @property
    def superuser_dsn(self) -> str:
        """For provisioning and measuring; no service gets it."""
        if self.context.settings.postgres_dsn:
            return self.context.settings.postgres_dsn
        state = self.context.state
        password, port = state.secrets.get("postgres", ""), state.ports.get("postgres", 0)
        return f"postgresql://{SUPERUSER}:{password}@127.0.0.1:{port}/postgres"

    @property
    def address(self) -> str:
        """host:port, without the password."""
        return self.superuser_dsn.rpartition("@")[2].partition("/")[0]

    @property
    def is_external(self) -> bool:
        return self.context.settings.postgres_dsn is not None

    @property
    def cluster(self) -> PostgresCluster:
        return PostgresCluster(self.context.home, self.context.log("postgres"))

    def launch(self) -> Running:
        return self.cluster.start(self.context.choose_port("postgres"), self.context.secret("postgres"))

    def health(self) -> Health:
        return READY if answers(self.superuser_dsn) else SILENT

    def provision(self) -> None:
        """The database and the roles of every service."""
        asyncio.run(self._provision())

    def dsn(self, service: str, role: str) -> str:
        """As the `owner` or the `runtime` role; oversight also has `retention`."""
        known = self.context.state.dsns.get(service)
        if known is None:
            raise StackError(f"there is no database of {service} yet: start postgres first")
        return known[role]

    async def _provision(self) -> None:
        databases = [self._database(service) for service in SERVICES]
        with self.context.file.edit() as state:
            state.dsns = {name: database.dsns(self.superuser_dsn) for name, database in zip(SERVICES, databases, strict=True)}
        await asyncio.gather(*(database.provision(self.superuser_dsn) for database in databases))

    def _database(self, service: str) -> Database:
        owner, runtime = f"{service}_owner", f"{service}_runtime"
        with self.context.file.edit() as state:
            database = Database(f"rapport_{service}", owner, state.secret(owner), runtime, state.secret(runtime))
            if service == "oversight":
                return replace(
                    database, retention="oversight_retention", retention_password=state.secret("oversight_retention")
                )
            return database
