"""Structured logs as JSON lines; only named fields pass, so that nothing of a client can slip in."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

ALLOWED = frozenset(
    (
        "event", "level", "timestamp", "service", "role", "topic", "partition", "offset", "records", "outcome", "reason",
        "kind", "error", "sqlstate", "count", "seconds", "port", "left", "version", "attempt", "rows",
    )
)  # fmt: skip


def _only_allowed(_: Any, __: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    hidden = [name for name in fields if name not in ALLOWED]
    for name in hidden:
        del fields[name]
    return fields


def configure(service: str, level: str) -> None:
    """Sets up logging of the whole process; foreign libraries log at warning, by name and level only."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _only_allowed,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    structlog.contextvars.bind_contextvars(service=service)
    logging.basicConfig(handlers=[_Foreign()], level=logging.WARNING, force=True)


class _Foreign(logging.Handler):
    """Messages of libraries may quote a payload, so only who spoke and the kind of error are kept."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None
        structlog.get_logger().log(record.levelno, "library_spoke", kind=record.name, error=error)
