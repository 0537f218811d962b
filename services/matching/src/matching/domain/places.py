"""A place is a numbered seat of a therapist, held by one offer; every taking and freeing has the therapist's next counter."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TakePlace:
    """Hold this seat for this episode; refused when the seat, the counter or the capacity is not as it was read."""

    therapist: str
    seat: int
    counter: int
    episode: str
    capacity: int


@dataclass(frozen=True, slots=True)
class FreePlace:
    """Give this seat of this episode back; refused when the episode does not hold it or the counter is not as it was read."""

    therapist: str
    seat: int
    counter: int
    episode: str


@dataclass(frozen=True, slots=True)
class Seats:
    """The seats of one therapist: bit n-1 of `taken` is seat n.

    A lowered capacity evicts nobody, so more may be held than there are places; then nothing is free until fewer are held.
    """

    counter: int = 0
    taken: int = 0

    def free(self, capacity: int) -> int:
        """How many more may be taken."""
        return max(0, capacity - self.taken.bit_count())

    def lowest_free(self) -> int:
        """Never above the capacity while fewer seats are held than there are places."""
        return (~self.taken & (self.taken + 1)).bit_length()

    def after(self, effect: TakePlace | FreePlace) -> "Seats":
        """The seats once this taking or freeing has been carried out."""
        bit = 1 << (effect.seat - 1)
        return Seats(effect.counter, self.taken | bit if isinstance(effect, TakePlace) else self.taken & ~bit)
