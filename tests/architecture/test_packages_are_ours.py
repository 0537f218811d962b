"""Each package is imported from this checkout: PyPI has others of the same names."""

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "intake": "services", "matching": "services", "followup": "services", "oversight": "services",
    "contracts": "shared", "messaging": "shared", "ledger": "shared", "cli": "shared",
}  # fmt: skip


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_is_the_one_of_this_checkout(package: str) -> None:
    found = importlib.import_module(package).__file__
    assert found, f"{package} has no file: is it installed? make setup"
    ours = ROOT / PACKAGES[package] / package / "src" / package
    assert Path(found).resolve().parent == ours, f"{package} is imported from {found}, not from {ours}"


def test_every_package_of_the_workspace_is_one_of_these() -> None:
    sources = {path.parent.name: path.parents[3].name for path in ROOT.glob("s*/*/src/*/__init__.py")}
    assert sources == PACKAGES


def test_none_of_these_names_is_asked_of_a_registry() -> None:
    locked = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    names = {line.partition("==")[0].strip() for line in locked.splitlines() if "==" in line and not line.startswith("#")}
    assert names, "requirements.lock pins nothing"
    assert names.isdisjoint(PACKAGES), f"the lock names {sorted(names & set(PACKAGES))}, which PyPI has too"
