"""The commands that the README and the runbooks tell people to run."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(document: str = "README.md") -> list[str]:
    """The code blocks that are marked as a shell's, as they stand."""
    return _BLOCK.findall((ROOT / document).read_text(encoding="utf-8"))


def commands(document: str = "README.md") -> Iterator[str]:
    """Each command on one line, without what is said about it behind `#`; one that goes over lines is joined."""
    for block in blocks(document):
        pending = ""
        for line in block.splitlines():
            pending = f"{pending}\n{line}" if pending else line.partition(" #")[0].rstrip()
            if pending.count("'") % 2 == 0 and pending.count('"') % 2 == 0:
                yield from filter(None, [pending])
                pending = ""
