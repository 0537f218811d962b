"""The outcome of a run for a person and for a machine."""

from dataclasses import asdict
from typing import Any

from tests.faults.run import Outcome

_SHOWN = 5


def print_outcome(outcome: Outcome) -> None:
    """What was done, each promise with how much was checked, and the violations with their witnesses."""
    print(f"\nform {outcome.form.name}, seed {outcome.seed}")
    for name, count in outcome.done.items():
        print(f"  {count:>8}  {name}")
    print("\n   checked  violations  promise")
    for one in outcome.checked:
        verdict = f"{len(one.violations):>10}" if not one.skipped else "not checked"
        print(f"{one.items:>10}  {verdict}  {one.promise}" + (f" ({one.skipped})" if one.skipped else ""))
    if outcome.stopped_early:
        print("stopped at the first violation that nothing can mend; the other promises were not checked")
    for one in outcome.checked:
        for violation in one.violations[:_SHOWN]:
            print(f"\n{violation}")
        if len(one.violations) > _SHOWN:
            print(f"\n{one.promise}: {len(one.violations) - _SHOWN} more")


def as_json(outcome: Outcome) -> dict[str, Any]:
    """The same, whole."""
    return {
        "form": outcome.form.name, "seed": outcome.seed, "seconds": outcome.form.seconds, "done": outcome.done,
        "stopped_early": outcome.stopped_early, "violations": outcome.violations,
        "promises": [asdict(one) for one in outcome.checked],
    }  # fmt: skip
