"""Due timers: which are due, how one becomes a message, and when it no longer stands."""

from typing import Any

from contracts.envelope import Envelope
from messaging.decision import DueTimer
from messaging.draft import Draft
from messaging.message import Received
from messaging.routes import Due, Kept
from messaging.snapshot import Snapshot

# Due timers whose names we know, soonest first. One that waits for answers also needs every partition of the topics that we
# read to be read past it, or its patience gone. Asked for once, in a subquery, the clock lets the index on `due` be used.
DUE = """
    WITH backlog AS (SELECT min(read_up_to) AS read_up_to FROM messaging.progress WHERE topic = ANY ($2))
    SELECT kind, subject, name, id, due, cause, due > coalesce(read_up_to, '-infinity') AS backlog_unread
      FROM messaging.timer, backlog
     WHERE name = ANY ($3) AND due <= (SELECT messaging.now()) AND coalesce(not_before, due) <= messaging.now()
       AND (fires_anyway <= messaging.now() OR due <= coalesce(read_up_to, '-infinity'))
     ORDER BY due LIMIT $1"""
# A timer that our code cannot process backs off, so that the others go on; after so many attempts it waits for a person.
BACK_OFF = """
    UPDATE messaging.timer
       SET attempts = attempts + 1, reason = $3,
           not_before = CASE WHEN attempts + 1 >= $4 THEN 'infinity'
                             ELSE messaging.now() + $2::interval * power(2, least(attempts, 6)) END
     WHERE id = $1 RETURNING not_before = 'infinity'"""


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
