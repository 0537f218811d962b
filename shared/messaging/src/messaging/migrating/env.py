"""Alembic's entry point for every package: one connection, one transaction, one migrator at a time."""

import asyncio

from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine

_MIGRATING = 7262


def _run(connection: Connection) -> None:
    context.configure(connection=connection, version_table=context.config.attributes["version_table"])
    with context.begin_transaction():
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATING})"))
        context.run_migrations()


async def _main() -> None:
    engine = create_async_engine(context.config.attributes["dsn"])
    async with engine.connect() as connection:
        await connection.run_sync(_run)
        await connection.commit()
    await engine.dispose()


asyncio.run(_main())
