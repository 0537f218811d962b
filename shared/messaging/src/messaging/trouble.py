"""Tells trouble of the infrastructure from content: only a listed set of causes is the infrastructure's."""

import asyncpg
from aiokafka.errors import KafkaError

# Connection, resources, system, serialization, deadlock, lock, shutdown, cancel, idle in transaction, read-only, no rights:
# PostgreSQL, appendix A.
_STATES = ("08", "53", "58", "40001", "40P01", "55P03", "57P01", "57P02", "57P03", "57014", "25P03", "25006", "42501")
# What asyncpg says when a connection is cut in the middle of something, whatever was sent over it.
_CUT = asyncpg.InterfaceError, asyncpg.InternalClientError
# Everything by which a statement that is right may fail.
OF_DATABASE = (asyncpg.PostgresError, *_CUT, OSError)


class NewerState(RuntimeError):
    """A row was written by newer code than this: this process holds still until it is upgraded."""


class Contended(RuntimeError):
    """A subject lost too many races in a row: the batch is tried again later."""


def is_infrastructure(error: BaseException) -> bool:
    """True when trying the same again later may work, whatever the content."""
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "").startswith(_STATES)
    if isinstance(error, asyncpg.DataError | ValueError):
        return False
    return isinstance(error, (OSError, TimeoutError, KafkaError, Contended, NewerState, *_CUT))
