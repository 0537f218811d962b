"""A verifiable log without its store: tree, proofs, canonical entries, signed checkpoints, evidence as a file.

Read in this order: `tree`, `proofs`, `entry`, `notes`, `checkpoints`, `evidence`, `tiles`.
"""
