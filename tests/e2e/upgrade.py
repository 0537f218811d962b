"""A next version of followup: a copy of its sources with a migration that only adds, and a state that has grown."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import followup
from cli.stack import Stack

SERVICE = "followup"
REVISION, BEFORE = "followup_0090", "followup_0001"
_MIGRATION = f'''"""The channel of a plan, for operators."""

from messaging.migrate import run_sql

revision = "{REVISION}"
down_revision = "HEAD"


def upgrade() -> None:
    run_sql(__file__)
'''
_SQL = """-- Only adds: the version before goes on reading and writing its own.
CREATE VIEW public.plan_channel AS
SELECT subject AS episode, body ->> 'channel' AS channel FROM messaging.state WHERE kind = 'plan' AND body IS NOT NULL;
CREATE TABLE public.outreach (episode text PRIMARY KEY);
"""


class NextVersion:
    """Its sources in a folder of their own, and how they are run instead of the installed ones."""

    def __init__(self, folder: Path) -> None:
        self._source = folder / SERVICE
        shutil.copytree(Path(followup.__file__).parent, self._source, ignore=shutil.ignore_patterns("__pycache__"))
        self._change("domain/plan.py", "    last_heard: datetime | None = None\n", '    channel: str = "in-person"\n')
        self._change("consumer.py", "        due(handlers.SILENCE, handlers.on_silence),\n", "        schema=2,\n")
        self._add_migration()

    def environment(self) -> dict[str, str]:
        """What makes Python find this version first."""
        return {"PYTHONPATH": os.pathsep.join(filter(None, [str(self._source.parent), os.environ.get("PYTHONPATH")]))}

    def stack(self, stack: Stack) -> Stack:
        """The same stack, in which followup is this version from its next start on."""
        env: Mapping[str, Mapping[str, str]] = stack.settings.env
        grown = {**env, SERVICE: {**env.get(SERVICE, {}), **self.environment()}}
        return Stack(stack.home, replace(stack.settings, env=grown))

    def _change(self, file: str, after: str, added: str) -> None:
        path = self._source / file
        text = path.read_text()
        assert text.count(after) == 1, f"{file} of followup has changed: this test adds {added!r} after {after!r}"
        path.write_text(text.replace(after, after + added))

    def _add_migration(self) -> None:
        folder = self._source / "migrations"
        newest = max(path.stem for path in folder.glob("[0-9]*.py"))
        (folder / "0090_channel.py").write_text(_MIGRATION.replace("HEAD", f"{SERVICE}_{newest[:4]}"))
        (folder / "0090_channel.sql").write_text(_SQL)


def migrate(stack: Stack, environment: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """`python -m followup migrate`, as an operator's job runs it."""
    told = {
        "FOLLOWUP_OWNER_DSN": stack.dsn(SERVICE, "owner"), "FOLLOWUP_POSTGRES_DSN": stack.dsn(SERVICE),
        "FOLLOWUP_KAFKA_BOOTSTRAP": stack.kafka_bootstrap, "FOLLOWUP_SECRET_KEY": stack.secret(SERVICE),
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-P", "-m", SERVICE, "migrate"], env={**os.environ, **told, **environment}, cwd=stack.home,
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
