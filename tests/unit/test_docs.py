"""What the documents say about files, settings, targets and dependencies is so."""

import importlib
import json
import re
import tomllib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cli.stack import SERVICES
from messaging.settings import KitSettings

ROOT = Path(__file__).parents[2]
TOP = ("docs", "services", "shared", "deploy", "tests", "bench")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(path for top in TOP for path in (ROOT / top).rglob("*.md"))])
DEPLOY = (ROOT / "deploy/README.md").read_text(encoding="utf-8")
SETTINGS: dict[str, type[KitSettings]] = {name: importlib.import_module(f"{name}.settings").Settings for name in SERVICES}

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"```.*?```", re.DOTALL)
_UNITS = ((86400, "day"), (3600, "h"), (60, "min"), (1, "s"))


def _prose(path: Path) -> str:
    return _CODE.sub("", path.read_text(encoding="utf-8"))


def _anchors(path: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", _prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def _links(path: Path) -> Iterator[tuple[str, Path, str]]:
    for link in _LINK.findall(_prose(path)):
        if "://" not in link:
            file, _, anchor = link.partition("#")
            yield link, (path.parent / file).resolve() if file else path, anchor


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    for link, target, anchor in _links(path):
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        assert not anchor or anchor in _anchors(target), link


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        named = re.findall(r"`make ([a-z]+)[^`]*`", text) + re.findall(r"^make ([a-z]+)", text, re.MULTILINE)
        assert set(named) <= targets, path


def test_every_command_of_rapport_that_is_named_exists() -> None:
    commands = set(
        re.findall(r'app\.(?:command\("|add_typer\(.*name=")(\w+)', (ROOT / "shared/cli/src/cli/app.py").read_text())
    )
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        named = re.findall(r"`(?:\./)?rapport ([a-z]+)", text) + re.findall(r"^\./rapport ([a-z]+)", text, re.MULTILINE)
        assert set(named) <= commands, path


@pytest.mark.parametrize("service", SERVICES)
def test_every_variable_in_the_deploy_readme_is_one_of_the_settings(service: str) -> None:
    named = set(re.findall(rf"\b{service.upper()}_[A-Z_]+\b", DEPLOY))
    known = {_variable(service, name) for name in SETTINGS[service].model_fields}
    assert {name for name in named if not name.endswith("_")} <= known


def test_every_variable_of_the_command_and_of_compose_in_the_deploy_readme_is_read_somewhere() -> None:
    readers = [*(ROOT / "shared/cli/src").rglob("*.py"), ROOT / "docker-compose.yml"]
    read = "".join(path.read_text(encoding="utf-8") for path in readers)
    assert all(name in read for name in re.findall(r"\bRAPPORT_[A-Z_]+\b", DEPLOY))


@pytest.mark.parametrize("service", SERVICES)
def test_every_setting_of_a_service_stands_in_the_deploy_readme_with_its_default(service: str) -> None:
    for name, setting in SETTINGS[service].model_fields.items():
        of_the_kit = name in KitSettings.model_fields and setting.default == KitSettings.model_fields[name].default
        variable = f"<SERVICE>_{name.upper()}" if of_the_kit else _variable(service, name)
        default = "required" if setting.is_required() else _told(setting.default)
        assert f"| `{variable}` | {default} |" in DEPLOY


def test_every_setting_that_a_service_readme_names_exists() -> None:
    for service, settings in SETTINGS.items():
        text = (ROOT / "services" / service / "README.md").read_text(encoding="utf-8")
        named = re.findall(rf"`({service.upper()}_[A-Z_]*[A-Z])`", text)
        assert set(named) <= {_variable(service, name) for name in settings.model_fields}


def test_the_dependencies_are_those_of_the_pyprojects() -> None:
    text, _, _ = (ROOT / "docs/dependencies.md").read_text(encoding="utf-8").partition("## Rejected")
    listed = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(listed) == set(_dependencies())


def test_no_document_names_a_path_of_this_machine() -> None:
    for path in DOCUMENTS:
        assert str(ROOT) not in path.read_text(encoding="utf-8")


def _dependencies() -> Iterator[str]:
    for path in [ROOT / "pyproject.toml", *ROOT.glob("services/*/pyproject.toml"), *ROOT.glob("shared/*/pyproject.toml")]:
        project: dict[str, Any] = tomllib.loads(path.read_text())
        groups = project.get("dependency-groups", {}).values()
        for wanted in [*project["project"]["dependencies"], *(one for group in groups for one in group)]:
            name = re.split(r"[\[<>=!~ ]", wanted)[0]
            if not name.startswith("rapport-"):
                yield name


def _variable(service: str, name: str) -> str:
    return f"{service}_{name}".upper()


def _told(default: Any) -> str:
    if default is None:
        return "none"
    if isinstance(default, tuple):
        return f"`{json.dumps(default)}`"
    if not isinstance(default, timedelta):
        return str(default)
    seconds = default.total_seconds()
    for size, unit in _UNITS:
        if seconds >= size and seconds % size == 0:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if unit == 'day' and count > 1 else ''}"
    return f"{seconds * 1000:g} ms"
