"""Evidence from a real stack: proved there, and checked by who has the wheel of the command and a public key."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from zipfile import ZipFile

import httpx
import pytest
from tests.e2e.payloads import referral
from tests.e2e.world import World

from cli.demo.people import Person
from contracts.referral import ReferralSubmitted

ROOT = Path(__file__).parents[2]


def run(*words: str | Path, cwd: Path, python: Path = Path(sys.executable)) -> "subprocess.CompletedProcess[str]":
    """The rapport command in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAPPORT_")}
    argv = [python, "-P", "-m", "cli", *words]
    return subprocess.run(argv, cwd=cwd, env=environment | {"COLUMNS": "300"}, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def handoff(world: World) -> str:
    """The first that intake offered."""
    world.call(world.refer(Person(0, "plain", "kafka", ReferralSubmitted.model_validate(referral("evidence")))))
    url = world.stack.http_url("oversight") + "/v1/handoffs?said=offered"
    found: list[dict[str, str]] = world.until(lambda: httpx.get(url).json(), "a handoff is offered", within=30)
    return found[0]["handoff_id"]


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
    venv.create(folder / "venv")
    python = folder / "venv" / "bin" / "python"
    (found,) = folder.glob("venv/lib/python*/site-packages")
    for wheel in folder.glob("*.whl"):
        ZipFile(wheel).extractall(found)
    # A folder named in a .pth file brings its packages, but not its own .pth files, through which this checkout would come.
    (found / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return python


def test_a_handoff_is_proved_and_checked_with_nothing_but_the_wheel_of_the_command(
    world: World, handoff: str, from_wheels: Path, tmp_path: Path
) -> None:
    proved = run("ledger", "prove", handoff, "--home", world.stack.home, cwd=tmp_path)
    assert proved.returncode == 0, proved.stderr
    (tmp_path / "proof.json").write_text(proved.stdout)
    (tmp_path / "public.key").write_text((world.stack.home / "ledger" / "public.key").read_text())

    where = [str(from_wheels), "-P", "-c", "import cli; print(cli.__file__)"]
    assert str(ROOT) not in subprocess.run(where, capture_output=True, text=True, check=True).stdout
    checked = run("ledger", "check", "proof.json", "--key", "public.key", "--body", cwd=tmp_path, python=from_wheels)
    assert (checked.returncode, "handoff-offered" in checked.stdout, handoff in checked.stdout) == (0, True, True), checked
    changed = (tmp_path / "proof.json").read_text().replace("handoff-offered", "handoff-offerex", 1)
    (tmp_path / "changed.json").write_text(changed)
    refused = run("ledger", "check", "changed.json", "--key", "public.key", cwd=tmp_path, python=from_wheels)
    assert (refused.returncode, "NOT PROVEN" in refused.stdout) == (1, True), refused


def test_a_running_ledger_is_all_good_and_cannot_be_spoilt_by_a_slip(world: World, handoff: str, tmp_path: Path) -> None:
    at = ("--home", world.stack.home)
    kept = tmp_path / "kept.checkpoint"
    kept.write_text((world.stack.home / "ledger" / "outside" / "checkpoint").read_text())
    good = run("ledger", "verify", "--since", kept, *at, cwd=tmp_path)
    assert (good.returncode, good.stdout.splitlines()[-1]) == (0, "all good"), good
    refused = run("ledger", "tamper", "--kind", "flip", *at, cwd=tmp_path)
    assert (refused.returncode, "is not a demo's" in refused.stderr) == (1, True), refused
