"""Rules that imports cannot show: what decides takes time and chance from its caller, waits for nothing and writes nothing."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVICES = [path.parent for path in sorted(ROOT.glob("services/*/src/*/consumer.py"))]
DECIDING = sorted(
    file for each in SERVICES for file in [each / "handlers.py", *(each / "domain").glob("*.py")] if file.exists()
)
ALL = sorted(file for each in SERVICES for file in each.rglob("*.py") if "migrations" not in file.parts)

Finding = tuple[int, str]
Rule = Callable[[ast.AST], Iterator[Finding]]

# Called on any object of that name: `datetime.now`, `dt.datetime.now`, and the bare name when it was imported.
_IMPURE = {
    "now": ("datetime",), "utcnow": ("datetime",), "today": ("date", "datetime"), "fromtimestamp": ("datetime",),
    "time": ("time",), "monotonic": ("time",), "perf_counter": ("time",), "time_ns": ("time",), "sleep": ("time", "asyncio"),
    "uuid1": ("uuid",), "uuid4": ("uuid",), "uuid6": ("uuid", "uuid_utils"), "uuid7": ("uuid", "uuid_utils"),
    "urandom": ("os",), "getenv": ("os",), "token_hex": ("secrets",), "token_urlsafe": ("secrets",),
}  # fmt: skip
_BARE = {
    "uuid1",
    "uuid4",
    "uuid6",
    "uuid7",
    "monotonic",
    "perf_counter",
    "urandom",
    "getenv",
    "open",
    "print",
    "input",
    "eval",
    "exec",
}
_MODULES = {"random", "secrets", "time", "logging", "structlog", "os", "socket", "subprocess", "threading", "asyncio", "httpx"}
_SQL = ("SELECT ", "INSERT ", "UPDATE ", "DELETE ", "WITH ", "MERGE ", "TRUNCATE ", "CREATE ", "ALTER ", "DROP ")
_EDGES = {
    "create_pool", "connect", "create_engine", "KafkaBroker", "AIOKafkaConsumer", "AIOKafkaProducer", "AIOKafkaAdminClient",
}  # fmt: skip


def impure(node: ast.AST) -> Iterator[Finding]:
    """Time, chance, waiting, and the world outside."""
    if isinstance(node, ast.Await | ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith):
        yield node.lineno, "waits: a decision is a plain function"
    if isinstance(node, ast.Import | ast.ImportFrom):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
        for name in names:
            if name.partition(".")[0] in _MODULES:
                yield node.lineno, f"imports {name}"
    if isinstance(node, ast.Call):
        owner, name = _called(node.func)
        if owner in _IMPURE.get(name, ()) or (owner == "" and name in _BARE):
            yield node.lineno, f"calls {f'{owner}.' if owner else ''}{name}: time and chance come with the facts"


def sql(node: ast.AST) -> Iterator[Finding]:
    """A statement of SQL, whole or put together."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.lstrip().startswith(_SQL):
        yield node.lineno, "holds SQL, which belongs into store.py, or a store of its own such as custody_store.py"


def opens(node: ast.AST) -> Iterator[Finding]:
    """A pool, a broker, a client."""
    if isinstance(node, ast.Call) and (name := _called(node.func)[1]) in _EDGES:
        yield node.lineno, f"calls {name}: only the kit and app.py open what must be closed"


def findings(file: Path, *rules: Rule) -> list[str]:
    """One line for each breach."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    name = file.relative_to(ROOT) if file.is_relative_to(ROOT) else file.name
    return [f"{name}:{line} {what}" for node in ast.walk(tree) for rule in rules for line, what in rule(node)]


def _called(function: ast.expr) -> tuple[str, str]:
    """The name of what is called, and the last name before it."""
    if isinstance(function, ast.Attribute):
        owner = function.value
        return (owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "?")), function.attr
    return "", getattr(function, "id", "?")


@pytest.mark.parametrize("file", DECIDING, ids=lambda file: str(file.relative_to(ROOT)))
def test_handlers_and_rules_take_time_and_chance_from_their_caller(file: Path) -> None:
    assert findings(file, impure) == []


@pytest.mark.parametrize(
    "file", [f for f in ALL if f.stem.split("_")[-1] != "store"], ids=lambda file: str(file.relative_to(ROOT))
)
def test_sql_is_in_stores_and_nothing_but_app_py_opens_a_connection(file: Path) -> None:
    assert findings(file, sql, *([] if file.name == "app.py" else [opens])) == []


def test_every_service_is_looked_at() -> None:
    assert [each.name for each in SERVICES] == ["followup", "intake", "matching", "oversight"]
    assert {file.parent.name for file in DECIDING if file.name == "handlers.py"} == {each.name for each in SERVICES}


@pytest.mark.parametrize(
    "source",
    [
        "from datetime import UTC, datetime\nx = datetime.now(UTC)", "import datetime as dt\nx = dt.datetime.utcnow()",
        "from datetime import date\nx = date.today()", "from uuid import uuid4\nx = uuid4()", "import uuid\nx = uuid.uuid4()",
        "import random", "from random import choice", "import time", "async def f() -> None: ...", "print(1)", "open('x')",
        "import structlog", "def f(x):\n    import asyncio",
    ],
)  # fmt: skip
def test_a_breach_of_purity_is_seen(tmp_path: Path, source: str) -> None:
    (tmp_path / "bad.py").write_text(source)
    assert findings(tmp_path / "bad.py", impure)


def test_a_breach_of_layers_is_seen_and_derived_ids_and_given_instants_are_none(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text('x = f"SELECT * FROM {t}"\ny = asyncpg.create_pool(dsn)')
    assert len(findings(tmp_path / "bad.py", sql, opens)) == 2
    (tmp_path / "good.py").write_text(
        "import uuid\nx = uuid.uuid5(NAMESPACE, name)\ny = facts.now\nz = datetime.fromisoformat(t)"
    )
    assert findings(tmp_path / "good.py", impure, sql, opens) == []
