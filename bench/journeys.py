"""The whole journey on the real stack: 2,000 referrals at once, then a paced load; prints and writes bench/results/latest.json.

A journey is measured from the submit of its referral to its PlanActivated as read by a consumer, with a simulator that answers
at once in a process of its own. Everything runs on this machine, all four services on.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, perf_counter, process_time
from typing import Any

import httpx
import uvloop
from aiokafka import AIOKafkaProducer

from bench.usage import backends_seconds, cpu_seconds, disk_held_seconds
from cli.demo.people import plain_referrals, therapists
from cli.demo.playing import Playground
from cli.demo.referring import list_therapist, record_of
from cli.demo.simulator import Simulator
from cli.stack.stack import Stack
from contracts import followup
from contracts.referral import ReferralSubmitted
from contracts.topics import FOLLOWUP, MATCHING, REFERRALS
from contracts.vocabulary import episode_id

RESULTS = Path(__file__).parent / "results" / "latest.json"
PARTS = ("kafka", "postgres", "intake", "matching", "followup", "oversight")
RECORDING = "rapport_oversight"
_ACTIVE = followup.PlanActivated.type.encode()


@dataclass(slots=True)
class Watch:
    """Notes when plans become active."""

    submitted: dict[bytes, float] = field(default_factory=dict)
    active: dict[bytes, float] = field(default_factory=dict)
    ended: int = 0

    def observe(self, record: Any) -> None:
        """One record of an owner's topic."""
        if any(name == "ce_type" and value == _ACTIVE for name, value in record.headers):
            self.ended += record.key not in self.active and record.key in self.submitted
            self.active.setdefault(record.key, perf_counter())

    def begin(self) -> None:
        """A new load; what was measured before is forgotten."""
        self.submitted.clear()
        self.ended = 0

    def milliseconds(self) -> list[float]:
        """Submitted to active, of those that are."""
        return sorted((self.active[key] - at) * 1000 for key, at in self.submitted.items() if key in self.active)


def quantile(values: list[float], q: float) -> float:
    """The q-quantile of sorted values."""
    return round(values[min(len(values) - 1, int(q * len(values)))], 1) if values else float("nan")


async def submit(producer: AIOKafkaProducer, watch: Watch, referral: ReferralSubmitted) -> None:
    """One referral, its clock started."""
    watch.submitted[episode_id(referral.assigner, referral.identifier).encode()] = perf_counter()
    await producer.send(**record_of(REFERRALS, referral.identifier, referral, referral.identifier))


async def until_active(watch: Watch, within: float) -> None:
    """Returns when every plan is active; exits 1 naming how many are not."""
    deadline = monotonic() + within
    while watch.ended < len(watch.submitted):
        if monotonic() > deadline:
            sys.exit(f"{len(watch.submitted) - watch.ended} journeys did not end within {within:.0f} s")
        await asyncio.sleep(0.02)


async def prepare(stack: Stack, playground: Playground, count: int, capacity: int) -> None:
    """Lists therapists with places for everybody and waits until matching knows the last one."""
    listed = list(therapists(count, 1, capacity))
    for therapist, listing in listed:
        await list_therapist(playground.producer, therapist, listing)
    await playground.producer.flush()
    async with httpx.AsyncClient(base_url=stack.http_url("matching")) as matching:
        for therapist, _ in listed:
            while (await matching.get(f"/v1/therapists/{therapist}")).status_code != httpx.codes.OK:
                await asyncio.sleep(0.1)


def used(stack: Stack) -> dict[str, float]:
    """CPU seconds so far, per process tree, the simulator (this process) included."""
    pids = {name: stack.pid(name) for name in PARTS}
    return {name: cpu_seconds(pid) for name, pid in pids.items() if pid} | {"simulator": process_time()}


def recording(stack: Stack) -> float:
    """CPU seconds so far of the database connections that oversight has."""
    postgres = stack.pid("postgres")
    return backends_seconds(postgres, RECORDING) if postgres else 0.0


def oversight_share(before: Mapping[str, float], after: Mapping[str, float], backends: float) -> float:
    """Of all CPU time, simulator and Kafka included, that of oversight and of the database connections that it has."""
    spent = {name: after[name] - before[name] for name in after}
    return round((spent["oversight"] + backends) / sum(spent.values()), 3)


def _per_journey(before: Mapping[str, float], after: Mapping[str, float], journeys: int) -> dict[str, float]:
    return {name: round((after[name] - before[name]) * 1000 / journeys, 3) for name in after}


async def at_once(stack: Stack, playground: Playground, watch: Watch, referrals: list[ReferralSubmitted]) -> dict[str, Any]:
    """All referrals as fast as the broker takes them."""
    count = len(referrals)
    events, before, backends = await playground.written(), used(stack), recording(stack)
    started = perf_counter()
    for referral in referrals:
        await submit(playground.producer, watch, referral)
    await until_active(watch, 120)
    took = perf_counter() - started
    latencies, after = watch.milliseconds(), used(stack)
    published = await playground.written() - events
    return {
        "journeys": count,
        "journeys_per_s": round(count / took, 1),
        "events_per_s": {topic.partition(".")[0]: round(n / took, 1) for topic, n in sorted(published.items())},
        "cpu_ms_per_journey": _per_journey(before, after, count),
        "oversight_share": oversight_share(before, after, recording(stack) - backends),
        "p50_ms": quantile(latencies, 0.5),
        "p99_ms": quantile(latencies, 0.99),
    }


async def paced(stack: Stack, playground: Playground, watch: Watch, rate: float, seconds: float) -> dict[str, Any]:
    """An even load; a referral that is due late is sent at once, and its clock runs from when it is sent."""
    referrals = list(plain_referrals(int(rate * seconds), 3, "P"))
    watch.begin()
    before, held, started = used(stack), disk_held_seconds(), perf_counter()
    for number, referral in enumerate(referrals):
        await asyncio.sleep(max(0.0, started + number / rate - perf_counter()))
        await submit(playground.producer, watch, referral)
    sent_in = perf_counter() - started
    await until_active(watch, 60)
    latencies, after, held_after = watch.milliseconds(), used(stack), disk_held_seconds()
    return {
        "paced_rate": round(len(latencies) / sent_in, 1),
        "paced_cpu_ms_per_journey": _per_journey(before, after, len(latencies)),
        "paced_p50_ms": quantile(latencies, 0.5),
        "paced_p99_ms": quantile(latencies, 0.99),
        "paced_disk_held_ms": None if held is None or held_after is None else round((held_after - held) * 1000),
    }


async def measure(stack: Stack, options: argparse.Namespace) -> dict[str, Any]:
    """Warm up, then both loads."""
    watch = Watch()
    # Nobody in a plain journey answers to intake.
    async with Playground(stack.kafka_bootstrap, Simulator(), watch.observe, (MATCHING, FOLLOWUP)) as playground:
        await prepare(stack, playground, 200, capacity=500)
        for referral in plain_referrals(200, 4, "W"):
            await submit(playground.producer, watch, referral)
        await until_active(watch, 60)
        rounds = []
        for turn in range(options.rounds):
            watch.begin()
            rounds.append(await at_once(stack, playground, watch, list(plain_referrals(options.referrals, 2, f"B{turn}"))))
        rounds.sort(key=lambda r: r["journeys_per_s"])
        await asyncio.sleep(2)
        even = await paced(stack, playground, watch, options.rate, options.seconds)
        return {**rounds[len(rounds) // 2], "rounds": [r["journeys_per_s"] for r in rounds], **even}


def main() -> None:
    """Starts an empty stack of its own, measures, writes the result, and stops it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--referrals", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=100.0, help="referrals per second of the paced load")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of the paced load")
    parser.add_argument("--rounds", type=int, default=3, help="the median round counts")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the figures are written")
    options = parser.parse_args()
    stack = Stack(Path(".rapport/bench"), say=print)
    stack.down()
    stack.remove()
    stack.up()
    try:
        result = uvloop.run(measure(stack, options))
    finally:
        stack.down()
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
