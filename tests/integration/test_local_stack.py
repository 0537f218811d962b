"""`rapport up` on this machine: it starts, it starts once, and it comes back with its data after any death."""

import asyncio
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from tests.support.stack import Infra, query, running_stack

from cli.stack import SERVICES, Stack, StackError, StackSettings
from cli.stack.processes import Running
from cli.stack.topics import Topic, declared, provision

pytestmark = pytest.mark.skipif(
    any(os.environ.get(name) for name in ("RAPPORT_KAFKA_BOOTSTRAP", "RAPPORT_POSTGRES_DSN")),
    reason="kills servers, so it wants its own",
)
TOPIC = "clinical.inbound.v1"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that may be killed: the session's one is in use by others."""
    with running_stack(tmp_path_factory.mktemp("own"), infra_only=True, settings=StackSettings(kafka_heap="256m")) as stack:
        yield stack


def test_every_declared_topic_is_there(own: Stack) -> None:
    asyncio.run(provision(own.kafka_bootstrap, declared()))
    assert {row.name: row.ready for row in own.status()} == {"kafka": True, "postgres": True} | dict.fromkeys(SERVICES, False)


def test_the_file_with_the_passwords_is_for_its_owner_alone(own: Stack) -> None:
    assert stat.S_IMODE((own.home / "stack.json").stat().st_mode) == 0o600


def test_a_second_up_starts_nothing(own: Stack) -> None:
    said: list[str] = []
    before = (own.pid("kafka"), own.pid("postgres"))
    Stack(own.home, own.settings, say=said.append).up(infra_only=True)
    assert (own.pid("kafka"), own.pid("postgres")) == before
    assert sorted(line.split(" on ")[0] for line in said) == ["kafka runs already", "postgres runs already"]


def test_the_runtime_role_cannot_create_a_table(own: Stack) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        query(own.dsn("intake"), "CREATE TABLE mine (id int)")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        query(own.dsn("matching"), "CREATE SCHEMA mine")


def test_a_role_cannot_enter_the_database_of_another_service(own: Stack) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        query(own.dsn("intake").replace("/rapport_intake", "/rapport_matching"), "SELECT 1")


def test_the_runtime_role_sees_a_table_only_when_a_migration_grants_it(own: Stack) -> None:
    query(own.dsn("followup", "owner"), "CREATE TABLE kept (id int)")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        query(own.dsn("followup"), "SELECT * FROM kept")
    query(own.dsn("followup", "owner"), "GRANT SELECT ON kept TO followup_runtime")
    assert query(own.dsn("followup"), "SELECT * FROM kept") == []


def test_the_server_ends_a_transaction_that_stays_open(own: Stack) -> None:
    assert query(own.dsn("intake"), "SHOW idle_in_transaction_session_timeout")[0][0] == "2s"
    assert query(own.dsn("intake"), "SHOW synchronous_commit")[0][0] == "on"


def test_killed_servers_come_back_with_their_data(own: Stack) -> None:
    query(own.dsn("oversight", "owner"), "CREATE TABLE survived AS SELECT 42 AS answer")
    sent = asyncio.run(_send(own.kafka_bootstrap, b"kept"))
    own.kill("postgres")
    own.kill("kafka")
    own.up(infra_only=True)
    assert query(own.dsn("oversight", "owner"), "SELECT answer FROM survived")[0]["answer"] == 42
    assert asyncio.run(_read(own.kafka_bootstrap, sent)) == b"kept"


def test_a_stale_pid_that_belongs_to_somebody_else_now_is_not_taken_for_ours(own: Stack) -> None:
    own.kill("postgres")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        _pretend(own, "postgres", Running(pid=stranger.pid, started=1.0))
        _write_postmaster_pid(own, stranger.pid)
        own.start("postgres")
        own.stop("postgres")
        assert stranger.poll() is None
        stranger.communicate(b"\n")


def test_a_port_that_was_taken_meanwhile_is_chosen_anew(own: Stack) -> None:
    own.stop("postgres")
    port = int(own.address("postgres").rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)):
        own.start("postgres")
    assert not own.address("postgres").endswith(f":{port}")
    assert query(own.dsn("intake"), "SELECT 1")[0][0] == 1


def test_a_topic_with_another_partition_count_is_named(infra: Infra) -> None:
    name = infra.topics(["narrow"], partitions=3)["narrow"]
    with pytest.raises(StackError, match=f"topic {name} has 3 partitions, not 12"):
        asyncio.run(provision(infra.bootstrap, [Topic(name, 12)]))


def test_fresh_databases_are_separate(infra: Infra) -> None:
    one, other = infra.database(), infra.database()
    query(one.owner_dsn, "CREATE TABLE only_here (id int)")
    with pytest.raises(asyncpg.UndefinedTableError):
        query(other.owner_dsn, "SELECT * FROM only_here")


def test_without_java_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(StackError, match=r"Java 17 or newer is needed.*RAPPORT_KAFKA_BOOTSTRAP"):
        Stack(tmp_path / "home").start("kafka")


def test_a_killed_service_comes_back_where_it_was(stack: Stack) -> None:
    before = stack.http_url("followup")
    stack.kill("followup")
    assert stack.pid("followup") is None
    stack.start("followup")
    assert stack.http_url("followup") == before
    assert all(row.ready for row in stack.status())


def test_a_service_is_not_given_its_owner(stack: Stack) -> None:
    environment = Path(f"/proc/{stack.pid('intake')}/environ").read_bytes()
    assert b"INTAKE_POSTGRES_DSN" in environment
    assert b"OWNER_DSN" not in environment


async def _send(bootstrap: str, value: bytes) -> tuple[TopicPartition, int]:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    try:
        sent = await producer.send_and_wait(TOPIC, value)
    finally:
        await producer.stop()
    return TopicPartition(TOPIC, sent.partition), sent.offset


async def _read(bootstrap: str, place: tuple[TopicPartition, int]) -> bytes | None:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign([place[0]])
        consumer.seek(*place)
        record = await asyncio.wait_for(consumer.getone(), 10)
    finally:
        await consumer.stop()
    value: bytes | None = record.value
    return value


def _pretend(stack: Stack, name: str, process: Running) -> None:
    path = stack.home / "stack.json"
    state = path.read_text()
    path.write_text(state.replace('"processes": {', f'"processes": {{"{name}": {process.model_dump_json()},', 1))


def _write_postmaster_pid(stack: Stack, pid: int) -> None:
    path = stack.home / "postgres" / "data" / "postmaster.pid"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([str(pid), *lines[1:]]) + "\n")
