"""Never more than a therapist's capacity, at any moment, read from seat numbers and the therapists' counters."""

from collections import defaultdict

from tests.faults.history import History, Said, Told
from tests.faults.verdict import Checked

from contracts import matching


def check(history: History, told: Told) -> Checked:
    """Takings and freeings of each therapist, played again in the order of the counter."""
    checked = Checked("capacity never exceeded")
    moves: dict[str, list[Said]] = defaultdict(list)
    for one in history.all(matching.MatchOffered, matching.PlaceFreed):
        moves[one.event.therapist_id].append(one)
    for therapist, said in moves.items():
        checked.items += len(said)
        _replay(checked, therapist, sorted(said, key=lambda one: one.event.counter))
    return checked


def _replay(checked: Checked, therapist: str, moves: list[Said]) -> None:
    held: dict[int, Said] = {}
    before: Said | None = None
    for move in moves:
        expected = before.event.counter + 1 if before else 1
        if move.event.counter != expected:
            text = f"{therapist}: counter {move.event.counter} where {expected} was next"
            checked.broken(text, [w for w in (before, move) if w])
        if isinstance(move.event, matching.MatchOffered):
            _take(checked, therapist, held, move)
        elif (holder := held.pop(move.event.seat, None)) is None or holder.subject != move.subject:
            text = f"{therapist}: seat {move.event.seat} was freed by who did not hold it"
            checked.broken(text, [w for w in (holder, move) if w])
        before = move


def _take(checked: Checked, therapist: str, held: dict[int, Said], move: Said) -> None:
    seat, capacity = move.event.seat, move.event.capacity
    if seat in held:
        checked.broken(f"{therapist}: seat {seat} is held twice", (held[seat], move))
    held[seat] = move
    if len(held) > capacity or seat > capacity:
        checked.broken(f"{therapist}: {len(held)} places held of {capacity}", held.values())
