"""`python -m followup run | serve | consume | relay | timers | migrate`."""

from followup.app import build
from followup.settings import Settings
from messaging.main import main

if __name__ == "__main__":
    main("followup", Settings, build)
