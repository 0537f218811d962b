"""Who may be shown to a client, in which order and why: hard filters as bit sets, then points with a reason each."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b

from matching.domain.listing import Code, Listing, Need
from matching.domain.match import Candidate, Reason, Terms
from matching.domain.places import FreePlace, Seats, TakePlace

SHORTLIST = 3
GENDER, TIMES, APPROACH, LOAD = 30, 30, 15, 20
"""Points. Only their order has a source, their sizes are ours.

A stated preference that is met goes with fewer drop-outs (OR 1.79) and a better outcome (d = 0.28; Swift 2018, 53 studies), so
a gender or a time asked for outweighs any difference in load. For preferences of style one study of 470 clients found no such
effect, so the approach does not. Free places stand for a short wait, which goes with attendance (PMC6037516), and for fair
load. A therapist's measured effect gets no points: nobody has the 15 earlier cases yet that it takes
(Constantino 2021).
"""

NO_SEATS = Seats()

Granted = tuple[str, int, int]


class Index:
    """The listings turned round: for every code the set of therapists who list it, as one integer with a bit for each."""

    def __init__(self, listings: Mapping[str, Listing]) -> None:
        self.listings = dict(sorted(listings.items()))
        self.ids = tuple(self.listings)
        self.position = {therapist_id: i for i, therapist_id in enumerate(self.ids)}
        self.listed: dict[Code, int] = {}
        self.accepting = 0
        for i, listing in enumerate(self.listings.values()):
            self.accepting |= listing.accepting << i
            for code in listing.codes():
                self.listed[code] = self.listed.get(code, 0) | 1 << i

    def qualified(self, need: Need, without: Iterable[str] = ()) -> int:
        """The set of therapists who list all that the need requires."""
        found = self.accepting
        for code in need.requirements():
            found &= self.listed.get(code, 0)
        for therapist_id in without:
            if therapist_id in self.position:
                found &= ~(1 << self.position[therapist_id])
        return found

    def granted(self, need: Need) -> list[Granted]:
        """For each stated preference: its reason, its points, and the set of therapists who meet it."""
        wishes, listed, times = need.preferences, self.listed, 0
        for time in wishes.times:
            times |= listed.get(("time", time), 0)
        granted = [
            ("preferred-gender", GENDER, listed.get(("gender", wishes.therapist_gender or ""), 0)),
            ("preferred-time", TIMES, times),
            ("preferred-approach", APPROACH, listed.get(("approach", wishes.approach or ""), 0)),
        ]
        return [preference for preference in granted if preference[2]]


@dataclass(frozen=True, slots=True)
class Directory:
    """The therapists and their seats as one batch read them; later decisions of the batch see the places earlier ones took.

    `levels` holds for every number of load points the set of therapists who have them; who has no free place is in none.
    """

    index: Index
    seats: Mapping[str, Seats]
    levels: Mapping[int, int]
    terms: Terms

    @classmethod
    def of(cls, index: Index, seats: Mapping[str, Seats], terms: Terms | None = None) -> "Directory":
        """Seats of therapists who are not listed any more are kept, so that they can be freed."""
        levels: dict[int, int] = {}
        for i, (therapist_id, listing) in enumerate(index.listings.items()):
            _move(levels, i, 0, _load(seats.get(therapist_id, NO_SEATS), listing.capacity))
        return cls(index, seats, levels, terms or Terms())

    def after(self, effects: Iterable[TakePlace | FreePlace]) -> "Directory":
        """The directory once these places have been taken and freed."""
        changed: dict[str, Seats] = {}
        for effect in effects:
            before = changed.get(effect.therapist) or self.seats.get(effect.therapist, NO_SEATS)
            changed[effect.therapist] = before.after(effect)
        return self.with_seats(changed)

    def with_seats(self, changed: Mapping[str, Seats]) -> "Directory":
        """The directory with these therapists' seats."""
        levels = dict(self.levels)
        for therapist_id, seats in changed.items():
            if listing := self.index.listings.get(therapist_id):
                before = _load(self.seats.get(therapist_id, NO_SEATS), listing.capacity)
                _move(levels, self.index.position[therapist_id], before, _load(seats, listing.capacity))
        return replace(self, seats={**self.seats, **changed}, levels=levels)

    def with_listings(self, changed: Mapping[str, Listing]) -> "Directory":
        """The directory with these listings; places that are held stay held."""
        return Directory.of(Index({**self.index.listings, **changed}), self.seats, self.terms)

    def place(self, need: Need, therapist_id: str, episode: str) -> TakePlace | None:
        """The place this therapist can hold for the client now, if they still qualify and have one."""
        i = self.index.position.get(therapist_id)
        if i is None or not self.index.qualified(need) >> i & 1:
            return None
        seats, capacity = self.seats.get(therapist_id, NO_SEATS), self.index.listings[therapist_id].capacity
        if not seats.free(capacity):
            return None
        return TakePlace(therapist_id, seats.lowest_free(), seats.counter + 1, episode, capacity)

    def giving_back(self, therapist_id: str, seat: int, episode: str) -> FreePlace:
        """The freeing of a seat, with the therapist's next counter."""
        return FreePlace(therapist_id, seat, self.seats.get(therapist_id, NO_SEATS).counter + 1, episode)

    def qualifies_anyone(self, need: Need, without: Iterable[str]) -> bool:
        """Whether anybody could take the client if they had a place."""
        return self.index.qualified(need, without) != 0

    def shortlist(self, need: Need, episode: str, without: Iterable[str] = ()) -> tuple[Candidate, ...]:
        """The best three who have a place, best first.

        Among equal points the lot decides, drawn from the episode's hash: the same again on replay, and different for each
        client, so that equals get equally many.
        """
        granted, seed, best = self.index.granted(need), _seed(episode), list[int]()
        for _, equals in self._ranks(self.index.qualified(need, without), granted):
            best += _drawn(_bits(equals), SHORTLIST - len(best), seed)
            if len(best) == SHORTLIST:
                break
        return tuple(self._candidate(i, granted) for i in best)

    def _ranks(self, qualified: int, granted: list[Granted]) -> list[tuple[int, int]]:
        """Points and the set of therapists who have them, most points first."""
        tiers = [(0, qualified)]
        for _, points, who in granted:
            tiers = [tier for had, left in tiers for tier in ((had + points, left & who), (had, left & ~who)) if tier[1]]
        ranks = [(had + load, left & level) for had, left in tiers for load, level in self.levels.items() if left & level]
        return sorted(ranks, reverse=True)

    def _candidate(self, i: int, granted: list[Granted]) -> Candidate:
        therapist_id = self.index.ids[i]
        load = _load(self.seats.get(therapist_id, NO_SEATS), self.index.listings[therapist_id].capacity)
        reasons = [Reason(code, points) for code, points, who in granted if who >> i & 1]
        reasons.append(Reason("places-free", load))
        return Candidate(therapist_id, sum(r.points for r in reasons), tuple(reasons))


def _load(seats: Seats, capacity: int) -> int:
    free = seats.free(capacity)
    return max(1, LOAD * free // capacity) if free else 0


def _move(levels: dict[int, int], i: int, before: int, now: int) -> None:
    if before:
        levels[before] &= ~(1 << i)
    if now:
        levels[now] = levels.get(now, 0) | 1 << i


def _bits(members: int) -> list[int]:
    return [i for i, bit in enumerate(f"{members:b}"[::-1]) if bit == "1"]


def _drawn(equals: list[int], count: int, seed: int) -> list[int]:
    drawn: list[int] = []
    while equals and len(drawn) < count:
        seed, lot = divmod(seed, len(equals))
        drawn.append(equals.pop(lot))
    return drawn


def _seed(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
