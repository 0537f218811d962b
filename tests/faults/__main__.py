"""`python -m tests.faults`: one run; exits 0 when every promise held, 1 when not, 2 when asked wrongly."""

import argparse
import asyncio
import json
import logging
import sys
from pathlib import Path

from tests.faults.forms import CI, LONG, SMOKE, Form, of_minutes
from tests.faults.report import as_json, print_outcome
from tests.faults.run import Outcome, Run, settings

from cli.stack import Stack


def main() -> None:
    """Reads the options, runs, prints, and always leaves nothing running."""
    options = _options()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    stack = Stack(options.home, settings(options.form, {}), say=print)
    stack.down()
    stack.remove()
    try:
        stack.up()
        outcome = asyncio.run(_go(stack, options))
    finally:
        stack.down()
        if not options.keep:
            stack.remove()
    print_outcome(outcome)
    if options.json:
        options.json.write_text(json.dumps(as_json(outcome), indent=2) + "\n", encoding="utf-8")
    sys.exit(1 if outcome.violations else 0)


async def _go(stack: Stack, options: argparse.Namespace) -> Outcome:
    return await Run(stack, options.form, options.seed, lambda text: print(text, flush=True)).go()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="rapport faults", description=__doc__)
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--smoke", action="store_true", help="a minute and a half in all")
    forms.add_argument("--long", action="store_true", help="an hour, every role a process of its own")
    forms.add_argument("--minutes", type=float, help="how long there is trouble")
    parser.add_argument("--seed", type=int, default=1, help="the same seed invents the same clients and faults")
    parser.add_argument("--home", type=Path, default=Path(".rapport/faults"), help="folder of the run's own stack")
    parser.add_argument("--keep", action="store_true", help="leave data and logs of the run")
    parser.add_argument("--json", type=Path, help="also write the outcome there")
    options = parser.parse_args()
    options.form = _form(options)
    return options


def _form(options: argparse.Namespace) -> Form:
    if options.minutes:
        return of_minutes(options.minutes)
    return SMOKE if options.smoke else LONG if options.long else CI


if __name__ == "__main__":
    main()
