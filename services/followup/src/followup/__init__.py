"""Followup: from an accepted match to a plan that is lived: sessions, alliance, reminders.

Read in this order: `consumer` (what it listens to), `handoffs` and `handlers` (what it decides), `domain`, `store`, `app`.
"""
