"""CPU seconds of whole process trees, and waits for the disk, from the operating system's own accounting."""

import os
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> tuple[int, float] | None:
    """(parent, own CPU seconds with those of children that ended), or None when the process is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[1]), sum(int(value) for value in fields[11:15]) / _TICK


def cpu_seconds(root: int) -> float:
    """Of a process and all its living descendants."""
    return sum(_family(root).values())


def backends_seconds(postgres: int, database: str) -> float:
    """Of the descendants of a postmaster that serve this database, told by their titles: `postgres: user database host ...`."""
    return sum(seconds for pid, seconds in _family(postgres).items() if database in _title(pid))


def disk_held_seconds() -> float | None:
    """How long so far nothing on this machine could go on, since it waited for the disk; None where Linux does not say."""
    try:
        full = Path("/proc/pressure/io").read_text().splitlines()[1]
    except (OSError, IndexError):
        return None
    return int(full.rpartition("total=")[2]) / 1e6


def _family(root: int) -> dict[int, float]:
    stats = {int(p.name): s for p in Path("/proc").iterdir() if p.name.isdigit() and (s := _stat(int(p.name)))}
    family, grown = {root}, True
    while grown:
        more = {pid for pid, (parent, _) in stats.items() if parent in family} - family
        family, grown = family | more, bool(more)
    return {pid: stats[pid][1] for pid in family if pid in stats}


def _title(pid: int) -> list[str]:
    """Its words after the role's; none of what is not PostgreSQL's."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode(errors="replace").split(" ")
    except OSError:
        return []
    return words[2:] if words[0] == "postgres:" else []
