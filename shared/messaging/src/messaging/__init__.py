"""How Rapport's services say it: at least once in, effect exactly once, out at least once, in order per source and subject.

Follow one record: `consumer` reads a batch, `processor` decides and writes it, `outbox` keeps what it says, `relay` sends it.
"""
