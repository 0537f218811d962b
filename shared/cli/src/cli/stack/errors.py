"""The one error of the local stack."""

from pathlib import Path


class StackError(Exception):
    """Says in one sentence what is wrong on this machine and what to do about it."""


def with_last_lines(sentence: str, log: Path, count: int = 15) -> StackError:
    """The sentence, and below it what the process itself said last."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return StackError("\n".join([f"{sentence}; the last lines of {log}:", *(f"  {line}" for line in lines[-count:])]))
