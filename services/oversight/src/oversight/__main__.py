"""`python -m oversight run | serve | consume | relay | timers | migrate | replay | ledger`."""

from messaging.main import main

if __name__ == "__main__":
    main("oversight", {"ledger": "oversight.ledger_command"})
