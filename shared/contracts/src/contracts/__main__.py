"""From the root of the checkout: `python -m contracts docs` writes docs/events.md and the schemas, `check` finds stale ones."""

import sys
from pathlib import Path

from contracts.docs import stale, write


def main(words: list[str]) -> int:
    """0, 1 when a generated file is stale, or 2 for words that mean nothing here."""
    root = Path.cwd()
    if words == ["docs"]:
        write(root)
        return 0
    if words == ["check"]:
        found = stale(root)
        sys.stderr.writelines(f"{path} is stale; run: make docs\n" for path in found)
        return 1 if found else 0
    sys.stderr.write("usage: python -m contracts docs | check\n")
    return 2


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
