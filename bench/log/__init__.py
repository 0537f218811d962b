"""The parts of bench.ledger: appending beside the checkpoints' loop, verifying, and proofs out of millions of leaves."""
