"""JSON Schemas for producers: closed, so that a misspelt field is found early; readers ignore what they do not know."""

from inspect import getdoc
from typing import Any

from contracts.event import Event

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema_of(event: type[Event]) -> dict[str, Any]:
    """The closed schema of one event's data."""
    schema = _closed(event.model_json_schema())
    return {
        "$schema": DIALECT,
        "$id": f"/schemas/{event.type}.json",
        **schema,
        "title": event.type,
        "description": getdoc(event),
    }


def _closed(node: Any) -> Any:
    if isinstance(node, list):
        return [_closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    closed = {name: _closed(value) for name, value in node.items() if not (name == "title" and isinstance(value, str))}
    return {**closed, "additionalProperties": False} if node.get("type") == "object" else closed
