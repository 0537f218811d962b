"""Oversight's composition root."""

from datetime import timedelta
from typing import Any

import asyncpg
import structlog
from fastapi import FastAPI
from pydantic import SecretStr

from messaging.chores import Chore
from messaging.membership import Recording
from messaging.service import Service
from oversight.api import add_api
from oversight.checkpointing import Checkpoints
from oversight.consumer import ROUTES, TOPICS, Recorder
from oversight.custody_api import add_custody_api
from oversight.ledger_api import add_ledger_api
from oversight.outside import Outside
from oversight.reconciling import Reconciler
from oversight.settings import Settings

log = structlog.get_logger()
_RECONCILE_EVERY = timedelta(seconds=2)


def beside(owner_dsn: str) -> "asyncpg.Pool[Any]":
    """Connections of the owner to whom tables of schema `rebuilt` come first."""
    return asyncpg.create_pool(
        owner_dsn, min_size=1, max_size=2, command_timeout=600, server_settings={"search_path": "rebuilt, public"}
    )  # fmt: skip


def retaining(retention_dsn: str) -> "asyncpg.Pool[Any]":
    """Connections of the role that may erase."""
    return asyncpg.create_pool(retention_dsn, min_size=1, max_size=1, command_timeout=60)


async def connected(dsn: SecretStr) -> "asyncpg.Connection[Any]":
    """One connection, for a command that may take its time."""
    return await asyncpg.connect(dsn.get_secret_value(), server_settings={"application_name": "rapport-oversight-ledger"})


def add_apis(app: FastAPI, service: Service) -> None:
    """Every route of oversight's own."""
    add_api(app, service)
    add_custody_api(app, service)
    add_ledger_api(app, service)


def build(settings: Settings) -> Service:
    """The service, ready to run; its consumer records instead of deciding."""

    def recording(service: Service) -> Recording:
        service.chores.append(Chore("reconciling", Reconciler(service).turn, _RECONCILE_EVERY))
        if signers := settings.signers:
            outside = Outside(settings.checkpoint_dir) if settings.checkpoint_dir else None
            service.loops.append(
                Chore("checkpoints", Checkpoints(service, signers, outside, service.new_producer).turn_and_rest, timedelta(0))
            )
        else:
            log.warning("ledger_unsigned", reason="OVERSIGHT_SIGNING_KEY is not set")
        key = settings.secret_key.get_secret_value().encode()
        return Recording(TOPICS, Recorder(service.pool, key, service.meters).take, breath=0.1)

    return Service("oversight", settings, ROUTES, add_api=add_apis, recording=recording)
