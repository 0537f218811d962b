"""What a check found: how many items it looked at, and each violation with its witnesses."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.faults.history import Said


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was not kept, and the records that show it."""

    promise: str
    text: str
    witnesses: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join([f"{self.promise}: {self.text}", *(f"    {witness}" for witness in self.witnesses)])


@dataclass(slots=True)
class Checked:
    """One promise, checked; `skipped` says why it could not be."""

    promise: str
    items: int = 0
    violations: list[Violation] = field(default_factory=list)
    skipped: str | None = None

    def broken(self, text: str, witnesses: Iterable[Said | str] = ()) -> None:
        """One more violation."""
        self.violations.append(Violation(self.promise, text, tuple(map(str, witnesses))))
