"""Promise 1, checked on the events: each open episode is in exactly one pair of hands, and no handoff was left lying.

A history is judged as of an instant. What another service had no time yet to confirm or to escalate is `pending` while it is
younger than `grace`; with no grace, as for a finished history, nothing is excused. What can never become right is a failure
at once.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from contracts import followup, handoff, matching
from contracts.custody import Chain, History, Recorded, custody_of
from contracts.intake import EpisodeOpened, ReferralAccepted

# A timer that waits until answers given in time have been read fires a little after it is due.
FIRES_WITHIN = timedelta(seconds=5)
NEVER_EXCUSED = frozenset({"two", "accepted-after-close"})
_NEED_AN_EPISODE = (
    ReferralAccepted, handoff.HandoffOffered, handoff.HandoffAccepted, matching.ShortlistProposed, matching.MatchOffered,
    matching.WaitingStarted, followup.PlanActivated,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong with the custody of one episode; `pending` when it may still come right by itself."""

    episode: str
    code: str
    text: str
    handoff_id: str | None = None
    pending: bool = False

    def __str__(self) -> str:
        handoff_id = f" (handoff {self.handoff_id})" if self.handoff_id else ""
        return f"episode {self.episode}: {self.code}: {self.text}{handoff_id}"


@dataclass(frozen=True, slots=True)
class _Flaw:
    code: str
    text: str
    at: datetime
    handoff_id: str | None = None


def check(episodes: Mapping[str, Iterable[Recorded]], as_of: datetime, grace: timedelta = timedelta(0)) -> list[Finding]:
    """Every finding on these episodes, by episode.

    `none`: no custodian, the opening is missing. `two`: opened or accepted twice, or handed on twice by one giver.
    `never-offered`: accepted without that offer. `not-custodian`: its giver never became custodian, so an acceptance is
    missing. `accepted-after-close`: accepted although declined or overdue. `unconfirmed`: an acceptance was answered, and the
    arbiter neither confirmed nor superseded it. `never-escalated`: past its deadline without answer or overdue.
    `overdue-not-escalated`, `declined-and-left`: nobody was asked next, and the client is not waiting. `escalated-to-nobody`:
    the next attempt was never offered.
    """
    found = []
    for episode, events in sorted(episodes.items()):
        history = History(events)
        for flaw in _flaws(history, as_of):
            pending = flaw.code not in NEVER_EXCUSED and as_of - flaw.at < grace
            found.append(Finding(episode, flaw.code, flaw.text, flaw.handoff_id, pending))
    return found


def is_open(events: Iterable[Recorded]) -> bool:
    """Whether these events speak of an episode that somebody must be accountable for."""
    return any(isinstance(event, EpisodeOpened | handoff.HandoffOffered) for _, event in events)


def _flaws(history: History, as_of: datetime) -> Iterator[_Flaw]:
    chain = custody_of(history.events)
    yield from _opening(history)
    yield from _strays(chain)
    for rule in _RULES:
        yield from rule(history)
    yield from _unanswered(history, as_of)


def _opening(history: History) -> Iterator[_Flaw]:
    opened = history.said(EpisodeOpened)
    for envelope, _ in opened[1:]:
        yield _Flaw("two", "the episode was opened twice", envelope.time)
    needing = [envelope.time for envelope, event in history.events if isinstance(event, _NEED_AN_EPISODE)]
    if needing and not opened:
        yield _Flaw("none", "nobody is custodian: the episode was never opened", min(needing))


def _strays(chain: Chain) -> Iterator[_Flaw]:
    gone_on_from = {tenure.handoff_id for tenure in chain.tenures}
    for envelope, accepted in chain.stray:
        if accepted.handoff_id in gone_on_from:
            text = f"{accepted.giver} handed the episode to {accepted.receiver} without ever having become custodian"
            yield _Flaw("not-custodian", text, envelope.time, accepted.handoff_id)
        else:
            text = f"{accepted.giver} handed the episode on twice; {accepted.receiver} and {chain.custodian} both hold it"
            yield _Flaw("two", text, envelope.time, accepted.handoff_id)


def _acceptances(history: History) -> Iterator[_Flaw]:
    accepted = history.said(handoff.HandoffAccepted)
    offers = {(o.handoff_id, o.giver, o.receiver) for _, o in history.said(handoff.HandoffOffered)}
    closed = {c.handoff_id for kind in (handoff.HandoffDeclined, handoff.HandoffOverdue) for _, c in history.said(kind)}
    times = Counter(event.handoff_id for _, event in accepted)
    for envelope, event in accepted:
        if (event.handoff_id, event.giver, event.receiver) not in offers:
            text = f"{event.receiver} accepted from {event.giver} what was never offered so"
            yield _Flaw("never-offered", text, envelope.time, event.handoff_id)
        if event.handoff_id in closed:
            text = f"{event.receiver}'s acceptance was confirmed although the handoff was closed"
            yield _Flaw("accepted-after-close", text, envelope.time, event.handoff_id)
        if times.pop(event.handoff_id, 1) > 1:
            text = f"{event.receiver}'s acceptance was confirmed twice"
            yield _Flaw("two", text, envelope.time, event.handoff_id)


def _answers(history: History) -> Iterator[_Flaw]:
    settled = {(event.handoff_id, event.receiver) for _, event in history.said(handoff.HandoffAccepted)}
    settled |= {(event.handoff_id, event.answered_by) for _, event in history.said(handoff.HandoffSuperseded)}
    for envelope, answer in history.said(handoff.HandoffAnswered):
        if answer.answer == "accepted" and (answer.handoff_id, answer.by) not in settled:
            settled.add((answer.handoff_id, answer.by))
            text = f"{answer.by} answered that it accepts, and {answer.arbiter} neither confirmed nor superseded it"
            yield _Flaw("unconfirmed", text, envelope.time, answer.handoff_id)


def _unanswered(history: History, as_of: datetime) -> Iterator[_Flaw]:
    verdicts = (handoff.HandoffAccepted, handoff.HandoffDeclined, handoff.HandoffOverdue)
    closed = {event.handoff_id for kind in verdicts for _, event in history.said(kind)}
    closed |= {handoff_id for handoff_id, _ in history.withdrawn()}
    offers = history.said(handoff.HandoffOffered)
    replaced_at = {event.previous: envelope.time for envelope, event in offers if event.previous}
    for _, offer in offers:
        replaced = replaced_at.get(offer.handoff_id)
        late = replaced >= offer.deadline if replaced else offer.deadline + FIRES_WITHIN < as_of
        if offer.handoff_id not in closed and late:
            text = f"{offer.receiver} did not answer {offer.giver} by {offer.deadline:%Y-%m-%dT%H:%M:%SZ}, and nobody escalated"
            yield _Flaw("never-escalated", text, offer.deadline, offer.handoff_id)


def _overdue(history: History) -> Iterator[_Flaw]:
    escalated = {event.handoff_id for _, event in history.said(handoff.HandoffEscalated)}
    for envelope, event in history.said(handoff.HandoffOverdue):
        if event.handoff_id not in escalated:
            text = f"{event.receiver} did not answer {event.giver} in time, and nobody else was asked"
            yield _Flaw("overdue-not-escalated", text, envelope.time, event.handoff_id)


def _declined(history: History) -> Iterator[_Flaw]:
    onward = {event.handoff_id for _, event in history.said(handoff.HandoffEscalated)}
    onward |= {event.previous for _, event in history.said(handoff.HandoffOffered) if event.previous}
    waiting = {envelope.source: envelope.sequence or 0 for envelope, _ in history.said(matching.WaitingStarted)}
    for envelope, event in history.said(handoff.HandoffDeclined):
        if event.handoff_id not in onward and waiting.get(envelope.source, -1) < (envelope.sequence or 0):
            text = f"{event.receiver} declined, and nobody else was asked"
            yield _Flaw("declined-and-left", text, envelope.time, event.handoff_id)


def _escalations(history: History) -> Iterator[_Flaw]:
    offered = {event.handoff_id for _, event in history.said(handoff.HandoffOffered)}
    for envelope, event in history.said(handoff.HandoffEscalated):
        if event.next_handoff_id not in offered:
            text = f"{event.escalated_to} was to be asked next, and was never offered the handoff"
            yield _Flaw("escalated-to-nobody", text, envelope.time, event.handoff_id)


_RULES: tuple[Callable[[History], Iterator[_Flaw]], ...] = (_acceptances, _answers, _overdue, _declined, _escalations)
