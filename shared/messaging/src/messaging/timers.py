"""Due timers: which are due, how one becomes a message, and when it no longer stands."""

from typing import Any

from contracts.envelope import Envelope
from messaging.decision import DueTimer
from messaging.draft import Draft
from messaging.message import Received
from messaging.routes import Due, Kept
from messaging.snapshot import Snapshot

# Due timers whose names we know, soonest first. One that waits for answers also needs every partition of the topics that we
# read to be read past it, or its patience gone: two searches, so that who may not fire yet is not looked at. The clock is asked
# once, or no index could be used.
DUE = """
    WITH clock AS MATERIALIZED (
        SELECT messaging.now() AS now, (SELECT coalesce(min(read_up_to), '-infinity') FROM messaging.progress
                                         WHERE topic = ANY ($2)) AS read_up_to)
    SELECT kind, subject, name, id, due, cause, due > read_up_to AS backlog_unread
      FROM clock, ((SELECT * FROM messaging.timer
                     WHERE due <= (SELECT least(now, read_up_to) FROM clock)
                       AND name = ANY ($3) AND coalesce(not_before, due) <= (SELECT now FROM clock) ORDER BY due LIMIT $1)
                   UNION
                   (SELECT * FROM messaging.timer
                     WHERE fires_anyway <= (SELECT now FROM clock) AND fires_anyway < '9999-01-01 00:00:00+00'
                       AND due <= (SELECT now FROM clock)
                       AND name = ANY ($3) AND coalesce(not_before, due) <= (SELECT now FROM clock)
                     ORDER BY fires_anyway LIMIT $1)) AS found
     ORDER BY due LIMIT $1"""
# A timer that our code cannot process backs off, so that the others go on; after so many attempts it waits for a person.
BACK_OFF = """
    UPDATE messaging.timer
       SET attempts = attempts + 1, reason = $3,
           not_before = CASE WHEN attempts + 1 >= $4 THEN 'infinity'
                             ELSE messaging.now() + $2::interval * power(2, least(attempts, 6)) END
     WHERE kind = $5 AND subject = $6 AND name = $7 AND id = $1 RETURNING not_before = 'infinity'"""


def is_stale(message: Received, snapshot: Snapshot, draft: Draft) -> bool:
    """True for a timer that was cancelled, replaced or fired since it was read as due, earlier in this batch included."""
    assert isinstance(message.data, DueTimer)
    subject = snapshot.subject_of(message)
    touched = subject is not None and (subject.number, message.data.name) in draft.timers
    return touched or message.envelope.id not in snapshot.timers


def due_timer(kept: Kept, route: Due, row: Any, source: str) -> Received:
    """A due timer as a message; its cause is the event that set it."""
    envelope = Envelope(
        id=row["id"], source=source, type=f"timer:{route.name}", subject=row["subject"], time=row["due"], **row["cause"]
    )
    timer = DueTimer(route.name, row["due"], row["backlog_unread"])
    return Received(envelope, (source, row["id"]), b"", kept, route, row["subject"], timer)
