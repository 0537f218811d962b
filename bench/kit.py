"""The limit of the kit: consume, one transaction, relay, against bare clients and the common way; how long an event waits for
its relay; and whether the memory of any process grows under an even load."""

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import asyncpg
from aiokafka import AIOKafkaProducer

from bench.limit.load import publish
from bench.soak import rss_growth
from cli.stack import Stack
from cli.stack.databases import Database
from messaging.migrate import migrate

RESULTS = Path(__file__).parent / "results" / "kit.json"
HOME = Path(".rapport/bench-kit")
WAYS = ("ours", "bare", "common")
_PASSWORD = "for-this-bench-on-loopback"
_BARE = (Path(__file__).parent / "limit" / "bare.sql").read_text(encoding="utf-8")
_SLICE, _BATCH = 0.02, 128 * 1024


async def database(stack: Stack, name: str, with_kit: bool) -> str:
    """A new database with the tables of the kit, or of the other two ways; its DSN."""
    wanted = Database(name, "bench_owner", _PASSWORD, "bench_runtime", _PASSWORD)
    await wanted.provision(stack.superuser_dsn)
    dsns = wanted.dsns(stack.superuser_dsn)
    if with_kit:
        await asyncio.to_thread(migrate, dsns["owner"], "followup")
        return dsns["runtime"]
    connection = await asyncpg.connect(dsns["owner"])
    await connection.execute(_BARE)
    await connection.close()
    return dsns["owner"]


async def drop(stack: Stack, name: str) -> None:
    """Takes a database that is through out of the way of those that follow: else they run beside its vacuum."""
    connection = await asyncpg.connect(stack.superuser_dsn)
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


async def start(stack: Stack, way: str, name: str, count: int) -> asyncio.subprocess.Process:
    """A contestant in a process of its own, with a new database; the kit goes on where its group stands."""
    with_kit = way in ("ours", "waiting")
    dsn = await database(stack, name, with_kit)
    group = "rapport-followup" if with_kit else f"bench-{name}"
    command = [sys.executable, "-m", f"bench.limit.{way}", "--bootstrap", stack.kafka_bootstrap, "--dsn", dsn]
    return await asyncio.create_subprocess_exec(*command, "--group", group, "--count", str(count), stdout=subprocess.PIPE)


async def result_of(process: asyncio.subprocess.Process, way: str) -> dict[str, float]:
    """What it printed; exits when it failed."""
    said, _ = await process.communicate()
    if process.returncode:
        sys.exit(f"{way} failed")
    return {name: value for line in said.splitlines() for name, value in json.loads(line).items()}


async def contest(stack: Stack, options: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """All ways move what is in the topic, one after the other, round by round."""
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for turn in range(options.rounds):
        async with AIOKafkaProducer(bootstrap_servers=stack.kafka_bootstrap, max_batch_size=_BATCH) as producer:
            await publish(producer, range(turn * options.events, (turn + 1) * options.events))
        for way, results in found.items():
            count = options.common if way == "common" else options.events
            result = await result_of(await start(stack, way, name := f"{way}_{turn}", count), way)
            await drop(stack, name)
            results.append(result)
            print(
                f"  round {turn}  {way:7} {result['events_per_s']:8.0f} events/s {result['own_cpu_us']:7.1f} us own CPU",
                flush=True,
            )
    return found


async def relay_waits(stack: Stack, options: argparse.Namespace, rate: float) -> dict[str, float]:
    """Once the service is ready events come at this rate; what they waited between commit and acknowledgement."""
    count, first = int(rate * options.seconds), options.rounds * options.events
    process = await start(stack, "waiting", "waiting", count)
    assert process.stdout
    await process.stdout.readline()
    async with AIOKafkaProducer(bootstrap_servers=stack.kafka_bootstrap, max_batch_size=_BATCH) as producer:
        began, sent = perf_counter(), 0
        while sent < count:
            due = min(count, int((perf_counter() - began) * rate))
            await publish(producer, range(first + sent, first + due))
            sent = due
            await asyncio.sleep(_SLICE)
    result = await result_of(process, "waiting")
    return {name: round(result[name], 1) for name in ("relay_p50_ms", "relay_p99_ms")}


def figures(found: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, Any]:
    """Medians of the rounds, and their ratios."""
    speed = {way: median(result["events_per_s"] for result in results) for way, results in found.items()}
    own = {way: median(result["own_cpu_us"] for result in results) for way, results in found.items()}
    return {
        "kit_events_per_s": round(speed["ours"]),
        "bare_events_per_s": round(speed["bare"]),
        "common_events_per_s": round(speed["common"]),
        "ratio_bare": round(speed["ours"] / speed["bare"], 2),
        "ratio_common": round(speed["ours"] / speed["common"], 1),
        "own_cpu_us_per_event": {
            "kit": round(own["ours"], 1),
            "bare": round(own["bare"], 1),
            "common": round(own["common"], 1),
        },
    }


async def measure(stack: Stack, options: argparse.Namespace) -> dict[str, Any]:
    """The contest, then the waits at half of the kit's speed."""
    result = figures(await contest(stack, options))
    return {**result, **await relay_waits(stack, options, result["kit_events_per_s"] / 2)}


def main() -> None:
    """Starts empty stacks of its own, measures, writes the result, and stops them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").replace("\n", " "))
    parser.add_argument("--events", type=int, default=60_000, help="events in a round for the kit and for bare clients")
    parser.add_argument("--common", type=int, default=2_000, help="events in a round for the common way")
    parser.add_argument("--rounds", type=int, default=3, help="medians of so many")
    parser.add_argument("--seconds", type=float, default=20, help="length of the even load for the relay")
    parser.add_argument("--soak", type=float, default=10, help="minutes under which memory is watched; 0 for none")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the figures are written")
    options = parser.parse_args()
    stack = Stack(HOME, say=print)
    stack.down()
    stack.remove()
    stack.up(infra_only=True)
    try:
        result = asyncio.run(measure(stack, options))
    finally:
        stack.down()
        stack.remove()
    if options.soak:
        result |= rss_growth(options.soak)
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
