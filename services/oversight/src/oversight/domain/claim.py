"""What a source says it has said in one partition, and the verdict when it is held against the record."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Verdict = Literal["right", "wait", "last-missing", "differs", "counts-backwards"]


@dataclass(frozen=True, slots=True)
class Claim:
    """So many events up to the first occurrence of one, with their digest."""

    source: str
    part: int
    count: int
    digest: str
    last_id: str
    at: datetime
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Base:
    """Up to where earlier claims were settled."""

    count: int = 0
    digest: str = "0" * 16
    position: int = -1
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What is on record after the base: where the claim's last event is, how many there are up to it, and their digest.

    `read` says that everything that was in the partition when the claim was made has been read.
    """

    position: int | None
    count: int
    digest: int
    read: bool


def judge(claim: Claim, base: Base, found: Found) -> Verdict:
    """Waits while it cannot be known: the events may be on their way."""
    if claim.problem is None and base.at is not None and claim.count <= base.count:
        return "counts-backwards" if claim.at > base.at else "right"
    if found.position is None:
        return "last-missing" if found.read else "wait"
    counted = (base.count + found.count, f"{(int(base.digest, 16) + found.digest) % 2**64:016x}")
    return "right" if counted == (claim.count, claim.digest) else "differs"
