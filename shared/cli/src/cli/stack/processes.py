"""Processes that outlive the command that started them, known by pid and start time."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil  # type: ignore[import-untyped]
from pydantic import BaseModel

from cli.stack.errors import with_last_lines
from cli.stack.health import Health

_children: dict[int, "subprocess.Popen[bytes]"] = {}
# On a busy machine the kernel needs its time; until then the process stands in the way of the next one.
_UNTIL_TAKEN_AWAY = 60.0


class Running(BaseModel):
    """A pid alone may have been given to somebody else since; with its start time it cannot be mistaken."""

    pid: int
    started: float


def spawn(
    argv: Sequence[str], *, log: Path, cwd: Path, env: Mapping[str, str] | None = None, user: int | None = None
) -> Running:
    """Start it in a session of its own, so that neither Ctrl-C nor the end of this command reaches it."""
    with _appending(log) as out:
        child = subprocess.Popen(  # noqa: S603
            argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd, env=env, start_new_session=True,
            user=user, group=user, extra_groups=None if user is None else [],
        )  # fmt: skip
    _children[child.pid] = child
    return Running(pid=child.pid, started=_start_time(child.pid) or time.time())


def run(
    argv: Sequence[str], *, cwd: Path, log: Path | None = None, env: Mapping[str, str] | None = None, user: int | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run it to its end, without input; what it says is in `stdout`, or goes to the log when there is one."""
    with _appending(log) as out:
        return subprocess.run(  # noqa: S603
            argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, text=True, cwd=cwd, env=env, check=False,
            user=user, group=user, extra_groups=None if user is None else [],
        )  # fmt: skip


@contextmanager
def _appending(log: Path | None) -> Iterator[IO[bytes] | int]:
    if log is None:
        yield subprocess.PIPE
        return
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        yield out


def alive(process: Running | None) -> bool:
    """Whether this very process still runs; a zombie does not, and one of our own is buried first: its pid would be taken."""
    if process is None:
        return False
    if (child := _children.get(process.pid)) is not None:
        return child.poll() is None
    started = _start_time(process.pid)
    return started is not None and abs(started - process.started) < 2


def _start_time(pid: int) -> float | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.NoSuchProcess:
        return None


def find(pid: int, word: str) -> Running | None:
    """The process with this pid, when `word` stands in its command line."""
    try:
        if word not in " ".join(psutil.Process(pid).cmdline()):
            return None
    except psutil.NoSuchProcess:
        return None
    started = _start_time(pid)
    return None if started is None else Running(pid=pid, started=started)


def stop(process: Running | None, *, within: float, first: signal.Signals = signal.SIGTERM) -> None:
    """Ask, wait, then kill; a frozen process is thawed, or it would not hear."""
    if process is None or not alive(process):
        return
    os.kill(process.pid, first)
    thaw(process)
    if not _gone(process, within):
        kill(process)


def kill(process: Running) -> None:
    """SIGKILL, and wait until the kernel has taken it away."""
    if alive(process):
        os.kill(process.pid, signal.SIGKILL)
        _gone(process, _UNTIL_TAKEN_AWAY)


def freeze(process: Running) -> None:
    """SIGSTOP: it lives, holds what it holds, and does nothing until it is thawed."""
    if alive(process):
        os.kill(process.pid, signal.SIGSTOP)


def thaw(process: Running) -> None:
    """SIGCONT; one that was not frozen does not notice."""
    if alive(process):
        os.kill(process.pid, signal.SIGCONT)


def _gone(process: Running, within: float) -> bool:
    deadline = time.monotonic() + within
    while alive(process):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def wait_until_left(folder: Path, *, within: float) -> None:
    """Wait until no process has this working directory, as the children of a killed server have for a moment."""
    deadline = time.monotonic() + within
    while any(_working_directory(each) == str(folder) for each in psutil.process_iter()) and time.monotonic() < deadline:
        time.sleep(0.05)


def _working_directory(process: psutil.Process) -> str | None:
    try:
        return str(process.cwd())
    except psutil.Error:
        return None


def memory_mb(pid: int) -> int:
    """Memory of the process and its children; what they share is counted once."""
    try:
        parent = psutil.Process(pid)
        return int(sum(each.memory_full_info().pss for each in [parent, *parent.children(recursive=True)]) / 2**20)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0


def wait_until(health: Callable[[], Health], process: Running | None, *, name: str, within: float, log: Path) -> Health:
    """Poll until it is ready, or waits for a person; when it dies or takes too long, say so with what it logged last."""
    deadline = time.monotonic() + within
    while not ((found := health()).ready or found.stopped):
        if process is not None and not alive(process):
            raise with_last_lines(f"{name} stopped while starting", log)
        if time.monotonic() > deadline:
            raise with_last_lines(f"{name} was not ready within {within:.0f} s: {found.missing}", log)
        time.sleep(0.05)
    return found
