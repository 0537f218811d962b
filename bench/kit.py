"""The limit of the kit: consume, one transaction, relay, against bare clients and the common way."""

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg
from aiokafka import AIOKafkaProducer

from bench.limit.load import publish
from cli.stack import Stack
from cli.stack.databases import Database
from messaging.migrate import migrate

RESULTS = Path(__file__).parent / "results" / "kit.json"
HOME = Path(".rapport/bench-kit")
_PASSWORD = "for-this-bench-on-loopback"
_BARE = (Path(__file__).parent / "limit" / "bare.sql").read_text(encoding="utf-8")


async def _database(stack: Stack, name: str) -> str:
    wanted = Database(name, "bench_owner", _PASSWORD, "bench_runtime", _PASSWORD)
    await wanted.provision(stack.superuser_dsn)
    dsns = wanted.dsns(stack.superuser_dsn)
    if name.startswith("ours"):
        await asyncio.to_thread(migrate, dsns["owner"], "followup")
        return dsns["runtime"]
    connection = await asyncpg.connect(dsns["owner"])
    await connection.execute(_BARE)
    await connection.close()
    return dsns["owner"]


async def contest(stack: Stack, way: str, turn: int, count: int) -> Mapping[str, float]:
    """One way moves what is in the topic, in a process of its own with a new database."""
    dsn = await _database(stack, f"{way}_{turn}")
    group = "rapport-followup" if way == "ours" else f"bench-{way}-{turn}"
    command = [sys.executable, "-m", f"bench.limit.{way}", "--bootstrap", stack.kafka_bootstrap, "--dsn", dsn]
    process = await asyncio.create_subprocess_exec(
        *command, "--group", group, "--count", str(count), stdout=subprocess.PIPE
    )  # fmt: skip
    said, _ = await process.communicate()
    if process.returncode:
        sys.exit(f"{way} failed")
    result: dict[str, float] = json.loads(said.splitlines()[-1])
    print(
        f"  round {turn}  {way:7} {result['events_per_s']:9.0f} events/s  {result['own_cpu_us']:7.1f} us of own CPU", flush=True
    )
    return result


async def _rounds(stack: Stack, options: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, list[Mapping[str, float]]] = {"ours": [], "bare": [], "common": []}
    for turn in range(options.rounds):
        async with AIOKafkaProducer(bootstrap_servers=stack.kafka_bootstrap, linger_ms=5) as producer:
            await publish(producer, range(turn * options.events, (turn + 1) * options.events))
        for way, results in found.items():
            count = options.events if way != "common" else options.common
            results.append(await contest(stack, way, turn, count))
    return _figures(found)


def _figures(found: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, Any]:
    speed = {way: median(result["events_per_s"] for result in results) for way, results in found.items()}
    own = {way: median(result["own_cpu_us"] for result in results) for way, results in found.items()}
    return {
        "kit_events_per_s": round(speed["ours"]),
        "bare_events_per_s": round(speed["bare"]),
        "common_events_per_s": round(speed["common"]),
        "ratio_bare": round(speed["ours"] / speed["bare"], 2),
        "ratio_common": round(speed["ours"] / speed["common"], 1),
        "own_cpu_us_per_event": {way: round(cpu, 1) for way, cpu in own.items()},
    }


def main() -> None:
    """Starts an empty stack of its own, measures, writes the result, and stops it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--events", type=int, default=30_000, help="events in a round for the kit and for bare clients")
    parser.add_argument("--common", type=int, default=1_500, help="events in a round for the common way")
    parser.add_argument("--rounds", type=int, default=3, help="medians of so many")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the figures are written")
    options = parser.parse_args()
    stack = Stack(HOME, say=print)
    stack.down()
    stack.remove()
    stack.up(infra_only=True)
    try:
        result = asyncio.run(_rounds(stack, options))
    finally:
        stack.down()
        stack.remove()
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
