"""Every SQL statement of matching's own; matches and listings are kept by the kit, as rows of kinds `match` and `therapist`."""

from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter

from matching.domain.directory import Directory, Index
from matching.domain.listing import Listing
from matching.domain.match import Terms
from matching.domain.places import Seats

# Listings that are newer, and seats of therapists whose counter is another, than what this process remembers.
CHANGED = """
    SELECT t.subject, t.version, c.counter,
           CASE WHEN t.version IS DISTINCT FROM known.version THEN t.body END AS body,
           CASE WHEN c.counter IS DISTINCT FROM known.counter
                THEN ARRAY(SELECT seat FROM public.seat s WHERE s.therapist = t.subject) END AS seats
      FROM messaging.state t
      LEFT JOIN public.seat_counter c ON c.therapist = t.subject
      LEFT JOIN unnest($1::text[], $2::bigint[], $3::bigint[]) AS known (subject, version, counter) USING (subject)
     WHERE t.kind = 'therapist' AND t.body IS NOT NULL
       AND (t.version IS DISTINCT FROM known.version OR c.counter IS DISTINCT FROM known.counter)"""
# The match of one episode, for the people who ask.
MATCH = "SELECT version, body FROM messaging.state WHERE kind = 'match' AND subject = $1"
# The places of one therapist.
THERAPIST = "SELECT therapist, capacity, accepting, counter, held FROM public.therapist WHERE therapist = $1"

_LISTING = TypeAdapter(Listing)


class Store:
    """The directory as this process last read it; each batch reads only what changed since, in one statement.

    A listing is known by the version of its row and a therapist's seats by their counter, so what is remembered is never
    stale once the batch has read.
    """

    def __init__(self, terms: Terms) -> None:
        self._known: dict[str, tuple[int, int | None]] = {}
        self._directory = Directory.of(Index({}), {}, terms)

    async def load(self, connection: Any, messages: Sequence[Any]) -> Directory:
        """The directory of this batch."""
        if changed := await self.changed(connection):
            self._take(changed)
        return self._directory

    async def changed(self, connection: Any) -> Sequence[Any]:
        """Rows of CHANGED: what others did since, and what a batch of ours did that was not kept."""
        versions, counters = zip(*self._known.values(), strict=True) if self._known else ((), ())
        rows: Sequence[Any] = await connection.fetch(CHANGED, list(self._known), versions, counters)
        return rows

    def keep(self, directory: Directory) -> None:
        """The directory as a batch left it, once that is committed whole: what we took and freed need not be read again."""
        self._directory = directory
        for subject, seats in directory.seats.items():
            if subject in self._known:
                self._known[subject] = self._known[subject][0], seats.counter

    def _take(self, rows: Sequence[Any]) -> None:
        listings = {row["subject"]: _LISTING.validate_json(row["body"]) for row in rows if row["body"] is not None}
        seats = {row["subject"]: _seats(row) for row in rows if row["seats"] is not None}
        self._known |= {row["subject"]: (row["version"], row["counter"]) for row in rows}
        self._directory = self._directory.with_seats(seats)
        if listings:
            self._directory = self._directory.with_listings(listings)


def _seats(row: Any) -> Seats:
    return Seats(row["counter"], sum(1 << (seat - 1) for seat in row["seats"]))
