"""`python -m tests.faults`: one run; exits 0 when every promise held, 1 when not, 2 when asked wrongly."""

import argparse
import asyncio
import json
import logging
import signal
import sys
from pathlib import Path

from tests.faults.code import UnknownBug, copy, names
from tests.faults.forms import CI, LONG, SMOKE, Form, of_minutes
from tests.faults.report import as_json, print_outcome
from tests.faults.run import Outcome, Run, settings

from cli.stack import Stack
from cli.stack.paths import CHECKOUT
from cli.stack.state import locked

_ENDED_BY_SIGNAL = 3


def main() -> None:
    """Reads the options, runs, prints, and always leaves nothing running."""
    options = _options()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_ENDED_BY_SIGNAL))
    with locked(options.home.with_suffix(".lock")):
        outcome = _run(options)
    print_outcome(outcome)
    if options.json:
        options.json.write_text(json.dumps(as_json(outcome), indent=2) + "\n", encoding="utf-8")
    sys.exit(1 if outcome.violations else 0)


def _run(options: argparse.Namespace) -> Outcome:
    """A stack of its own, empty at the start and gone at the end."""
    old = Stack(options.home)
    old.down()
    old.remove()
    stack = Stack(options.home, settings(options.form, copy(options.code, options.home / "code", options.bug)), say=_say)
    try:
        stack.up()
        return asyncio.run(Run(stack, options.form, options.seed, _say, fail_fast=options.bug is not None).go())
    finally:
        stack.down()
        if not options.keep:
            stack.remove()


def _say(text: str) -> None:
    print(text, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="rapport faults", description="Tries to break the promises on a stack of its own.")
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--smoke", action="store_true", help="a minute and a half in all")
    forms.add_argument("--long", action="store_true", help="an hour, every role a process of its own")
    forms.add_argument("--minutes", type=float, help="how long there is trouble")
    parser.add_argument("--seed", type=int, default=1, help="the same seed invents the same clients and faults")
    parser.add_argument("--bug", help=f"run code in which this bug was seeded: {', '.join(names())}")
    parser.add_argument("--code", type=Path, default=CHECKOUT, help="another checkout whose services are run")
    parser.add_argument("--home", type=Path, default=CHECKOUT / ".rapport" / "faults", help="folder of the run's own stack")
    parser.add_argument("--keep", action="store_true", help="leave data and logs of the run")
    parser.add_argument("--json", type=Path, help="also write the outcome there")
    options = parser.parse_args()
    options.form = _form(options)
    if options.bug and options.bug not in names():
        parser.error(str(UnknownBug(options.bug)))
    return options


def _form(options: argparse.Namespace) -> Form:
    if options.minutes:
        return of_minutes(options.minutes)
    return SMOKE if options.smoke else LONG if options.long else CI


if __name__ == "__main__":
    main()
