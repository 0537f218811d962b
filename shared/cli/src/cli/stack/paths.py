"""Where things are: the checkout, its deploy folder, the default home of a stack, the cache."""

import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[5]
DEPLOY = CHECKOUT / "deploy"


def default_home() -> Path:
    """The stack that `rapport up` means when no folder is given."""
    return CHECKOUT / ".rapport" / "stack"


def demo_home() -> Path:
    """The stack of `rapport demo`."""
    return CHECKOUT / ".rapport" / "demo"


def cache_folder() -> Path:
    """For what is fetched once: $RAPPORT_CACHE, else ~/.cache/rapport, else inside the checkout."""
    if given := os.environ.get("RAPPORT_CACHE"):
        return Path(given)
    return home_folder() / ".cache" / "rapport" if home_is_writable() else CHECKOUT / ".rapport" / "cache"


def home_is_writable() -> bool:
    """False where $HOME is missing, not a folder, or somebody else's."""
    return home_folder().is_dir() and os.access(home_folder(), os.W_OK)


def home_folder() -> Path:
    return Path(os.environ.get("HOME") or "/nonexistent")
