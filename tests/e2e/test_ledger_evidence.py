"""Evidence from a real stack: proved there, checked where nothing runs, and a ledger that was spoilt is found out by name."""

import os
import re
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import httpx
import pytest
from tests.e2e.payloads import referral
from tests.support.stack import running_stack

from cli.stack import Stack, StackSettings

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(600)


def run(*words: str | Path, cwd: Path, python: Path = Path(sys.executable)) -> "subprocess.CompletedProcess[str]":
    """The rapport command in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAPPORT_")}
    argv = [python, "-P", "-m", "cli", *words]
    return subprocess.run(argv, cwd=cwd, env=environment | {"COLUMNS": "300"}, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One of its own, since it is spoilt in the end."""
    settings = StackSettings(processes=("intake", "oversight"))
    with running_stack(tmp_path_factory.mktemp("ledger"), infra_only=False, settings=settings) as small:
        yield small


@pytest.fixture(scope="module")
def handoff(stack: Stack) -> str:
    """The first that intake offered."""
    for number in range(8):
        sent = httpx.post(
            stack.http_url("intake") + "/v1/referrals", json=referral(f"evidence-{number}"),
            headers={"Idempotency-Key": f"evidence-{number}"},
        )  # fmt: skip
        assert sent.status_code == httpx.codes.ACCEPTED, sent.text
    until = monotonic() + 30
    while not (found := httpx.get(stack.http_url("oversight") + "/v1/handoffs").json()):
        assert monotonic() < until, "no handoff was offered"
        sleep(0.1)
    return str(found[0]["handoff_id"])


@pytest.fixture(scope="module")
def from_wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment that has our three wheels, others' packages, and nothing of this checkout."""
    folder = tmp_path_factory.mktemp("wheels")
    for package in ("contracts", "ledger", "cli"):
        build = f"import uv_build; uv_build.build_wheel({str(folder)!r})"
        builders = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        subprocess.run(
            [sys.executable, "-c", build], cwd=ROOT / "shared" / package, env=builders, check=True, capture_output=True
        )
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    wheels = sorted(folder.glob("*.whl"))
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-index", "--no-deps", *wheels], check=True, capture_output=True)
    # A folder named in a .pth file brings its packages, but not its own .pth files, through which this checkout would come.
    (found,) = folder.glob("venv/lib/python*/site-packages")
    (found / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return python


def test_a_handoff_is_proved_checked_offline_and_a_spoilt_entry_is_named(
    stack: Stack, handoff: str, from_wheels: Path, tmp_path: Path
) -> None:
    at = ("--home", stack.home)
    proved = run("ledger", "prove", handoff, *at, cwd=tmp_path)
    assert proved.returncode == 0, proved.stderr
    (tmp_path / "proof.json").write_text(proved.stdout)
    (tmp_path / "public.key").write_text((stack.home / "ledger" / "public.key").read_text())
    kept = tmp_path / "kept.checkpoint"
    kept.write_text((stack.home / "ledger" / "outside" / "checkpoint").read_text())
    stack.down()

    where = [str(from_wheels), "-P", "-c", "import cli; print(cli.__file__)"]
    assert str(ROOT) not in subprocess.run(where, capture_output=True, text=True, check=True).stdout
    checked = run("ledger", "check", "proof.json", "--key", "public.key", "--body", cwd=tmp_path, python=from_wheels)
    assert (checked.returncode, "handoff-offered" in checked.stdout, handoff in checked.stdout) == (0, True, True), checked
    changed = (tmp_path / "proof.json").read_text().replace("handoff-offered", "handoff-offerex", 1)
    (tmp_path / "changed.json").write_text(changed)
    refused = run("ledger", "check", "changed.json", "--key", "public.key", cwd=tmp_path, python=from_wheels)
    assert (refused.returncode, "NOT PROVEN" in refused.stdout) == (1, True), refused

    stack.up(infra_only=True)
    good = run("ledger", "verify", "--since", kept, *at, cwd=tmp_path)
    assert (good.returncode, good.stdout.splitlines()[-1]) == (0, "all good"), good
    refused = run("ledger", "tamper", "--kind", "flip", *at, cwd=tmp_path)
    assert (refused.returncode, "is not a demo's" in refused.stderr) == (1, True), refused
    stack.mark_as_demo()
    spoilt = run("ledger", "tamper", "--kind", "flip", "--seed", "5", *at, cwd=tmp_path)
    assert spoilt.returncode == 0, spoilt.stderr
    found = run("ledger", "verify", *at, cwd=tmp_path)
    assert (found.returncode, found.stdout.splitlines()[-1]) == (1, "NOT GOOD"), found
    first_bad = re.search(r"first bad +entry (\d+)", found.stdout)
    assert first_bad, found.stdout
    assert re.search(rf"\b{first_bad[1]}\b", spoilt.stdout), (spoilt.stdout, found.stdout)
