"""Matching: from a need to a shortlist, the client's choice, and a therapist who accepted.

Read in this order: `consumer` (what it listens to), `handlers` (what it decides), `domain`, `store`, `app`.
"""
