"""Applies migrations with Alembic: plain SQL files, the kit's first and then the service's, under one advisory lock.

Each migration is `NNNN_name.sql` beside `NNNN_name.py`, which names its revision and runs the file.
"""

from importlib.resources import files
from pathlib import Path

from alembic import command, op
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError


def run_sql(revision_file: str) -> None:
    """Runs the SQL file beside a revision file, as it stands, many statements at once."""
    sql = Path(revision_file).with_suffix(".sql").read_text(encoding="utf-8")
    adapted = op.get_bind().connection.dbapi_connection
    if adapted is None:
        raise RuntimeError("migrations need an open connection")
    adapted.run_async(lambda connection: connection.execute(sql))


def migrate(owner_dsn: str, service: str) -> None:
    """Brings a service's database to the newest version of the kit's and the service's migrations.

    A database that a newer version has migrated is left as it is, so that going back to this version works.
    """
    for package in ("messaging", service):
        _upgrade(_config(owner_dsn, package))


def _upgrade(config: Config) -> None:
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        found, ours = getattr(error.__cause__, "argument", None), ScriptDirectory.from_config(config).get_current_head()
        if not found or not ours or found <= ours:
            raise
        print(f"the database is at {found}, newer than {ours}: nothing to migrate")


def _config(owner_dsn: str, package: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("messaging") / "migrating"))
    config.set_main_option("version_locations", str(files(package) / "migrations"))
    config.set_main_option("path_separator", "newline")
    config.attributes["dsn"] = owner_dsn.replace("postgresql://", "postgresql+asyncpg://", 1)
    config.attributes["version_table"] = f"migrated_{package}"
    return config
