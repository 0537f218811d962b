"""Apache Kafka's own jars, fetched once by Maven from the pinned pom."""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from cli.stack.errors import StackError
from cli.stack.paths import CHECKOUT, DEPLOY, cache_folder, home_is_writable
from cli.stack.processes import run

POM = DEPLOY / "local" / "kafka" / "pom.xml"
_OTHERWISE = "or set RAPPORT_KAFKA_BOOTSTRAP to a broker that runs already"


def jars(say: Callable[[str], None]) -> Path:
    """The folder of jars; it appears whole or not at all, also when two commands fetch at once."""
    target = cache_folder() / f"kafka-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"
    if not target.is_dir():
        say("kafka: fetching its jars with Maven (44 MB, once)")
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix="kafka-new-") as fresh:
            _resolve(Path(fresh) / "jars")
            _put(Path(fresh) / "jars", target)
    return target


def _resolve(folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise StackError(f"Maven is needed to fetch Kafka: install it (Debian: apt-get install maven), {_OTHERWISE}")
    repository = [] if home_is_writable() else [f"-Dmaven.repo.local={cache_folder() / 'maven'}"]
    command = [maven, "-q", "-B", *repository, "-f", str(POM), "dependency:copy-dependencies"]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
    result = run(command, cwd=CHECKOUT)
    if result.returncode != 0:
        raise StackError(f"Maven could not fetch Kafka:\n{result.stdout[-2000:]}")


def _put(fresh: Path, target: Path) -> None:
    fresh.chmod(0o755)
    try:
        fresh.rename(target)
    except OSError:
        if not target.is_dir():
            raise


def java() -> str:
    """The java command, once it is sure that it is new enough."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=f"{home}/bin") if home else None
    found = found or shutil.which("java")
    if found is None or _version(found) < 17:
        raise StackError(f"Java 17 or newer is needed to run Kafka: install it (Debian: openjdk-17-jre-headless), {_OTHERWISE}")
    return found


def _version(command: str) -> int:
    text = run([command, "-version"], cwd=CHECKOUT).stdout
    match = re.search(r'version "(\d+)', text)
    return int(match.group(1)) if match else 0
