"""Setting aside: what is early waits, what cannot be processed is parked with its reason, and its lane queues behind it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any
from urllib.parse import quote, unquote, unquote_to_bytes

from contracts.envelope import HEADERS, Envelope
from contracts.parked import RecordParked
from contracts.topics import OWNED
from messaging import outbox
from messaging.decision import Early
from messaging.draft import Draft, digest_of
from messaging.message import Answer, Placed, Received, Record, Trouble
from messaging.routes import On
from messaging.snapshot import Claim, Snapshot, Subject

KNOWN = """
    SELECT source, id FROM unnest($1::text[], $2::text[]) AS asked (source, id) JOIN messaging.inbox USING (source, id)"""
SET_ASIDE = ("waiting", "parked")
_ALARM = "same-id-other-content"
_READ = {*HEADERS, "content-type", "traceparent"}
_FOREVER = timedelta(days=36500)
_FIRST_LOOK, _SOON, _NEXT_LOOK, _MOMENT = (timedelta(seconds=n) for n in (1, 2, 60, 0.001))
# A larger body is not kept: a broker takes no such record unless somebody told it to.
MAX_KEPT = 2 * 1024 * 1024
TOO_LARGE = "too-large"
_OUR_FAULT = ("handler-", "unprocessable-", "unreadable-", "killed-its-readers")


@dataclass(frozen=True, slots=True)
class Policy:
    """Where parked records are announced, how long an early one may wait, and the key of digests of what may identify.

    So many records of a topic parked by faults of our own within a time stop its consumer; `at_fault` is called before.
    """

    topic: str
    early_limit: timedelta
    key: bytes
    faults: int = 50
    faults_within: timedelta = timedelta(minutes=10)
    at_fault: Callable[[], None] = lambda: None


class Unanswerable(RuntimeError):
    """A command or a timer that our code cannot process: its caller is told, and nothing is parked."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unprocessable(RuntimeError):
    """A message whose lane is known and that cannot be processed: it is parked in its lane."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.reason)
        self.trouble = trouble


@dataclass(frozen=True, slots=True)
class Parks:
    """A handler that only says what is wrong."""

    trouble: Trouble

    def __call__(self, *_: Any) -> None:
        """Never decides."""
        raise Unprocessable(self.trouble)


def unprocessable(message: Received, error: Exception) -> Received:
    """The message, to be parked in its lane since what was decided on it cannot be written."""
    return in_its_lane(message, Trouble(f"unprocessable-{type(error).__name__}"))


def in_its_lane(message: Received, trouble: Trouble) -> Received:
    """The message with a handler that only says what is wrong."""
    place = place_of(message.record) if message.record else None
    return replace(message, place=place, route=message.route and replace(message.route, handler=Parks(trouble)))


def done_before(
    draft: Draft, message: Received, answer: Answer, digest: bytes, number: int, snapshot: Snapshot, policy: Policy
) -> tuple[int, Answer]:
    """A duplicate gets the answer it got; the same (source, id) with other content is an alarm, parked under its place.

    A duplicate inside a batch wins or loses with the first: what that was answered counts only once it is committed.
    """
    if digest == digest_of(message):
        return number, replace(answer, duplicate=True)
    if message.record is None:
        return number, Answer("refused", _ALARM)
    place = place_of(message.record)
    if place in snapshot.done:
        return 0, Answer("parked", _ALARM, duplicate=True)
    return set_aside(draft, replace(message, claim=place, trouble=Trouble(_ALARM, "ce_id")), None, policy)


async def look_up_places(connection: Any, snapshot: Snapshot, messages: Placed) -> None:
    """Of messages whose (source, id) stands for other content: which of their places are parked already.

    One that is to be parked in its lane, and stands parked by its place since before a death, is done with.
    """
    for _, message in messages:
        if message.place in snapshot.done:
            snapshot.done.setdefault(message.claim, (Answer("parked"), digest_of(message), 0))
    places = [
        place_of(m.record) for _, m in messages if m.record and (done := snapshot.done.get(m.claim)) and done[1] != digest_of(m)
    ]
    if places:
        known = await connection.fetch(KNOWN, *(list(column) for column in zip(*places, strict=True)))
        snapshot.done |= {(row["source"], row["id"]): (Answer("parked", _ALARM), b"", 0) for row in known}


def set_aside(
    draft: Draft, message: Received, subject: Subject | None, policy: Policy, why: Early | Exception | None = None
) -> tuple[int, Answer]:
    """Early waits for its subject; anything else is parked; without a `why` it goes behind what is parked in its lane."""
    if message.record is None and message.lane_row is None:
        return _unrecorded(message, why)
    if message.lane_row is not None:
        return _stay(draft, message, subject, policy, why)
    waits = isinstance(why, Early) or (why is None and message.trouble is None)
    trouble = message.trouble or _trouble(why)
    if waits and _too_large(message):
        waits, trouble = False, Trouble(TOO_LARGE)
    subject = None if not waits and _alone(message) else subject
    outcome, number = "waiting" if waits else "parked", draft.number(subject)
    draft.claim(message, number, Answer(outcome, trouble.reason))
    _add(draft, message, number, outcome, trouble, policy, at_once=isinstance(why, Early))
    if not waits:
        _announce(draft, message, number, trouble, policy)
    if subject is not None:
        subject.blocked.add(message.claim[0])
    return number, Answer(outcome, trouble.reason)


def release(draft: Draft, message: Received, subject: Subject) -> None:
    """A message that had been set aside is done with; the write opens its lane when nothing is left in it."""
    row = {"state": subject.number, "n": message.lane_row, "source": message.claim[0]}
    draft.parking.setdefault("drop", []).append(row)


def _unrecorded(message: Received, why: Early | Exception | None) -> tuple[int, Answer]:
    if message.trouble:
        return 0, Answer("refused", message.trouble.reason)
    if isinstance(why, Early):
        return 0, Answer("early", why.reason)
    if why is None:
        return 0, Answer("early", "waits-behind-parked")
    raise Unanswerable(type(why).__name__) from why


def _stay(draft: Draft, message: Received, subject: Subject | None, policy: Policy, why: Any) -> tuple[int, Answer]:
    trouble, number = message.trouble or _trouble(why), draft.number(subject)
    gives_up = not isinstance(why, Early) or (message.gives_up_at is not None and message.gives_up_at < draft.now)
    outcome = "parked" if gives_up else "waiting"
    draft.claim(message, number, Answer(outcome, trouble.reason))
    row = {
        "state": number, "n": message.lane_row, "source": message.claim[0], "outcome": outcome, "reason": trouble.reason,
        "path": trouble.path, "retry_at": _next_look(draft, _NEXT_LOOK if message.gives_up_at else _SOON, message.gives_up_at),
    }  # fmt: skip
    draft.parking.setdefault("leave" if gives_up and _alone(message) else "keep", []).append(row)
    if gives_up:
        _announce(draft, message, number, trouble, policy)
    return number, Answer(outcome, trouble.reason)


def _alone(message: Received) -> bool:
    """An event that was declared independent holds nobody up; what is parked waits for a person, not for its lane."""
    return isinstance(message.route, On) and message.route.independent


def _next_look(draft: Draft, soon: timedelta, gives_up_at: datetime | None) -> datetime:
    limit = gives_up_at + _MOMENT if gives_up_at and gives_up_at > draft.now else datetime.max.replace(tzinfo=UTC)
    return min(draft.now + soon, limit)


def _too_large(message: Received) -> bool:
    return message.record is not None and len(message.record.value or b"") > MAX_KEPT


def is_our_fault(record: Record, reason: str) -> bool:
    """True for what only a change of our code mends; what outsiders send wrongly, and what came too early, never is."""
    return reason.startswith(_OUR_FAULT) or (record.topic in OWNED and reason.startswith("schema-"))


def _keyed(record: Record, policy: Policy) -> str:
    return blake2b(record.value or b"", digest_size=32, key=policy.key[:64]).hexdigest()


def place_of(record: Record) -> Claim:
    """The (source, id) of a record by where it stands in Kafka."""
    return f"kafka:{record.topic}", f"{record.partition}-{record.offset}"


def _trouble(why: Early | Exception | None) -> Trouble:
    if isinstance(why, Unprocessable):
        return why.trouble
    if isinstance(why, Early):
        return Trouble(why.reason)
    return Trouble(f"handler-{type(why).__name__}" if why else "behind-parked")


def headers_as_text(record: Record) -> list[tuple[str, str | None]]:
    """The headers that are read again; they may hold any bytes, and jsonb holds no U+0000, so they are kept as in URLs."""
    own = ((name, raw) for name, raw in record.headers if name.lower() in _READ)
    return [(quote(name), None if raw is None else quote(raw)) for name, raw in own]


def headers_of(texts: list[tuple[str, str | None]]) -> list[tuple[str, bytes | None]]:
    """What `headers_as_text` was made from."""
    return [(unquote(name), None if text is None else unquote_to_bytes(text)) for name, text in texts]


def _add(draft: Draft, message: Received, number: int, outcome: str, trouble: Trouble, policy: Policy, at_once: bool) -> None:
    record = message.record
    assert record is not None
    gives_up_at, fault = draft.now + policy.early_limit, outcome == "parked" and is_our_fault(record, trouble.reason)
    draft.parked_values.append(None if _too_large(message) else record.value)
    draft.parking.setdefault("add", []).append(
        {
            "nr": len(draft.parked_values), "state": number, "outcome": outcome, "source": message.claim[0],
            "id": message.claim[1], "type": _type(message), "reason": trouble.reason, "path": trouble.path,
            "topic": record.topic, "part": record.partition, "position": record.offset, "headers": headers_as_text(record),
            "size": len(record.value or b""), "digest": _keyed(record, policy), "fault": fault,
            "retry_at": _next_look(draft, _FIRST_LOOK if at_once else _FOREVER, gives_up_at if at_once else None),
            "gives_up_at": gives_up_at,
        }
    )  # fmt: skip
    if fault:
        policy.at_fault()
        limit = {"state": number, "topic": record.topic, "most": policy.faults}
        draft.parking.setdefault("faults", []).append({**limit, "seconds": policy.faults_within.total_seconds()})


def _type(message: Received) -> str | None:
    return message.envelope.type if message.envelope.type != "unreadable" else None


def _announce(draft: Draft, message: Received, number: int, trouble: Trouble, policy: Policy) -> None:
    record = message.record
    assert record is not None
    read = message.envelope if message.envelope.type != "unreadable" else None
    parked = RecordParked(
        topic=record.topic, partition=record.partition, offset=record.offset, event_source=read and read.source,
        event_id=read and read.id, event_type=read and read.type, reason=trouble.reason, path=trouble.path,
        size=len(record.value or b""), digest=_keyed(record, policy),
    )  # fmt: skip
    place = f"{record.topic}-{record.partition}-{record.offset}"
    cause = read or Envelope(id=place, source=f"{draft.source}/consumer", type="unreadable", time=draft.now)
    row = outbox.rows(draft.source, policy.topic, place, [parked], cause, draft.now, 0)[0]
    draft.out.append((number, *row))
