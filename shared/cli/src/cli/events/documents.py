"""Reads events out of a file: one JSON document, an array, or JSON lines."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cli.stack.errors import StackError


def documents(path: Path) -> Iterator[tuple[str, Any]]:
    """Each document with its place in the file, such as `line 3`; `-` reads what is piped in."""
    text = _text(path)
    try:
        whole = json.loads(text)
    except ValueError:
        yield from _lines(path, text)
        return
    if isinstance(whole, list):
        yield from ((f"item {number}", item) for number, item in enumerate(whole, 1))
    else:
        yield "document", whole


def _text(path: Path) -> str:
    try:
        return sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StackError(f"{path} cannot be read: {_why(error)}") from None


def _lines(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield f"line {number}", _one(path, number, line)


def _one(path: Path, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise StackError(f"{path} is neither JSON nor JSON lines: line {number}, {error}") from None


def _why(error: Exception) -> str:
    return "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(getattr(error, "strerror", error))
