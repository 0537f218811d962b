"""Does the memory of any process grow? All four services under an even load; minute 1 against the last."""

import asyncio
from pathlib import Path
from time import perf_counter
from typing import Any

import uvloop

from bench.journeys import Watch, prepare, submit, until_active
from cli.demo.people import plain_referrals
from cli.demo.playing import Playground
from cli.demo.simulator import Simulator
from cli.stack import Stack

HOME = Path(".rapport/bench-soak")
SERVICES = ("intake", "matching", "followup", "oversight")
RATE = 15.0


def resident(pid: int) -> int:
    """Bytes of a process that are in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def _memory(stack: Stack) -> dict[str, int]:
    pids = {name: stack.pid(name) for name in SERVICES}
    return {name: resident(pid) for name, pid in pids.items() if pid}


async def _soak(stack: Stack, minutes: float) -> dict[str, Any]:
    watch, first = Watch(), dict[str, int]()
    async with Playground(stack.kafka_bootstrap, Simulator(), watch.observe) as playground:
        await prepare(stack, playground, 200, capacity=500)
        began = perf_counter()
        for number, referral in enumerate(plain_referrals(int(RATE * minutes * 60), 5, "S")):
            await asyncio.sleep(max(0.0, began + number / RATE - perf_counter()))
            await submit(playground.producer, watch, referral)
            if not first and perf_counter() - began > 60 * min(1, minutes / 2):
                first = _memory(stack)
        await until_active(watch, 60)
        last = _memory(stack)
    return {
        "rss_growth": {name: round(last[name] / first[name], 3) for name in SERVICES},
        "rss_mb": {name: round(last[name] / 2**20) for name in SERVICES},
        "rss_minutes": minutes,
    }


def rss_growth(minutes: float) -> dict[str, Any]:
    """Starts an empty stack of its own and stops it; resident memory of each service, at the end through after a minute."""
    stack = Stack(HOME, say=print)
    stack.down()
    stack.remove()
    stack.up()
    try:
        return uvloop.run(_soak(stack, minutes))
    finally:
        stack.down()
        stack.remove()
