"""Apache Kafka as one KRaft node on loopback, or a broker that runs already."""

import asyncio
import base64
import signal
import uuid
from dataclasses import dataclass
from pathlib import Path
from string import Template

from cli.stack import topics
from cli.stack.context import Context
from cli.stack.errors import with_last_lines
from cli.stack.health import READY, SILENT, Health
from cli.stack.kafka_jars import jars, java
from cli.stack.paths import DEPLOY
from cli.stack.processes import Running, run, spawn

# A broker of a few hours never earns back what the second compiler costs at start: a third of its CPU on two cores. Its heap in
# large pages saves a twentieth of it.
_JVM = (
    "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+UseTransparentHugePages", "-Xshare:auto", "-Djava.awt.headless=true",
)  # fmt: skip
_LOGGING = {
    "defaultLogLevel": "warn",
    "log.kafka.server.BrokerServer": "info",
    "showDateTime": "true",
    "dateTimeFormat": "yyyy-MM-dd HH:mm:ss.SSS",
    "showThreadName": "false",
}
_API_VERSIONS_REQUEST = b"\x00\x00\x00\x0a" + b"\x00\x12\x00\x00\x00\x00\x00\x01\xff\xff"


@dataclass(frozen=True)
class Kafka:
    """Its data survives any stop; its ports may differ from start to start."""

    context: Context
    stop_signal = signal.SIGTERM

    @property
    def address(self) -> str:
        """host:port, as clients want it."""
        return self.context.settings.kafka_bootstrap or f"127.0.0.1:{self.context.port('kafka')}"

    @property
    def is_external(self) -> bool:
        return self.context.settings.kafka_bootstrap is not None

    def launch(self) -> Running:
        """Format the folder when it is new, then start the broker."""
        heap = self.context.settings.kafka_heap
        command = [java(), *_JVM, *_logging(), f"-Xms{heap}", f"-Xmx{heap}", "-cp", f"{jars(self.context.say)}/*"]
        self._folder.mkdir(parents=True, exist_ok=True)
        properties = self._write_properties()
        if not (self._folder / "data" / "meta.properties").exists():
            self._format(command, properties)
        return spawn([*command, "kafka.Kafka", str(properties)], log=self.context.log("kafka"), cwd=self._folder)

    def health(self) -> Health:
        return READY if asyncio.run(_answers(self.address)) else SILENT

    def provision(self) -> None:
        """Topics as deploy/kafka/topics.yaml says."""
        asyncio.run(topics.provision(self.address, topics.declared()))

    @property
    def _folder(self) -> Path:
        return self.context.home / "kafka"

    def _write_properties(self) -> Path:
        template = Template((DEPLOY / "local" / "kafka" / "server.properties").read_text())
        path = self._folder / "server.properties"
        broker, controller = self.context.choose_port("kafka"), self.context.choose_port("kafka-controller")
        path.write_text(template.safe_substitute(broker=broker, controller=controller, data=self._folder / "data"))
        return path

    def _format(self, command: list[str], properties: Path) -> None:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        log = self.context.log("kafka")
        words = ["kafka.tools.StorageTool", "format", "--ignore-formatted", f"--cluster-id={cluster}", "-c", str(properties)]
        result = run([*command, *words], cwd=self._folder, log=log)
        if result.returncode != 0:
            raise with_last_lines("Kafka could not format its folder", log)


def _logging() -> list[str]:
    return [f"-Dorg.slf4j.simpleLogger.{name}={value}" for name, value in _LOGGING.items()]


async def _answers(bootstrap: str) -> bool:
    """Asks a question of the protocol, since a port that listens may belong to anything."""
    host, _, port = bootstrap.split(",")[0].rpartition(":")
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(_API_VERSIONS_REQUEST)
            await reader.readexactly(4)
            writer.close()
    except (OSError, asyncio.IncompleteReadError, TimeoutError):
        return False
    return True
