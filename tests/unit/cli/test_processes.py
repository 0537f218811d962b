"""A process that is dead for us is dead for everybody: its pid stands in nobody's way."""

import os
import signal
from pathlib import Path
from time import sleep

import psutil  # type: ignore[import-untyped]
import pytest

from cli.stack import processes


def test_a_child_that_dies_while_it_is_looked_at_is_buried_before_it_counts_as_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = processes.spawn(["sleep", "60"], log=tmp_path / "log", cwd=tmp_path)
    child = processes._children[process.pid]
    poll, not_yet = child.poll, iter([True])
    os.kill(process.pid, signal.SIGKILL)
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
        sleep(0.01)
    monkeypatch.setattr(child, "poll", lambda: None if next(not_yet, False) else poll())
    assert processes._gone(process, within=5)
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_a_process_of_somebody_else_is_known_by_its_start() -> None:
    ourselves = psutil.Process()
    assert processes.alive(processes.Running(pid=ourselves.pid, started=ourselves.create_time()))
    assert not processes.alive(processes.Running(pid=ourselves.pid, started=1.0))
