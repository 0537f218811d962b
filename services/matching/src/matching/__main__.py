"""`python -m matching run | serve | consume | relay | timers | migrate`."""

from messaging.main import main

if __name__ == "__main__":
    main("matching")
