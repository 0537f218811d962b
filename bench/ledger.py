"""The ledger: how fast it appends while it signs, how long an entry waits for its checkpoint, what it takes on disk, how fast
all of it is verified, and how long a proof takes out of ten million leaves."""

import argparse
import asyncio
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import uvloop

from bench.log import appending, millions
from cli.stack import Stack
from cli.stack.databases import Database
from cli.stack.topics import Topic, provision
from contracts.topics import CHECKPOINTS
from ledger.notes import generate
from messaging.migrate import migrate
from oversight.settings import Settings

RESULTS = Path(__file__).parent / "results" / "ledger.json"
HOME = Path(".rapport/bench-ledger")
ORIGIN = "rapport.bench/ledger"
_PASSWORD = "for-this-bench-on-loopback"


async def database(stack: Stack, name: str) -> dict[str, str]:
    """A new one with the tables of oversight; its DSNs."""
    wanted = Database(name, "bench_owner", _PASSWORD, "bench_runtime", _PASSWORD)
    await wanted.provision(stack.superuser_dsn)
    dsns = wanted.dsns(stack.superuser_dsn)
    await asyncio.to_thread(migrate, dsns["owner"], "oversight")
    return dsns


async def measure(stack: Stack, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One after the other, each on a database of its own."""
    signer, dsns = generate(ORIGIN), await database(stack, "bench_appending")
    await provision(stack.kafka_bootstrap, [Topic(CHECKPOINTS, 1)])
    values = {"postgres_dsn": dsns["runtime"], "kafka_bootstrap": stack.kafka_bootstrap, "secret_key": "only-for-this-bench"}
    result = await appending.measure(Settings.model_validate(values), signer, folder, options.seconds)
    if options.leaves:
        dsns = await database(stack, "bench_millions")
        result |= await millions.inclusion_ms(dsns["owner"], options.leaves, options.proofs, signer)
    return result


def main() -> None:
    """Starts an empty stack of its own, measures, writes the result, and removes it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").replace("\n", " "))
    parser.add_argument("--seconds", type=float, default=25, help="how long is appended")
    parser.add_argument("--leaves", type=int, default=10_000_000, help="of the ledger that proofs are made from; 0 for none")
    parser.add_argument("--proofs", type=int, default=1000, help="quantiles over so many")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the figures are written")
    options = parser.parse_args()
    stack = Stack(HOME, say=print)
    stack.down()
    stack.remove()
    others = round(os.getloadavg()[0], 1)
    stack.up(infra_only=True)
    try:
        with tempfile.TemporaryDirectory() as folder:
            result = {**uvloop.run(measure(stack, Path(folder), options)), "load_before": others}
    finally:
        stack.down()
        stack.remove()
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
