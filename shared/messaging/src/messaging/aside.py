"""What waits for a person, and what each allows: a record that is parked, a timer that failed too often, a stopped topic."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from contracts.envelope import Envelope
from contracts.record import read_record
from contracts.refusal import EnvelopeError
from messaging.draft import Draft, digest_of
from messaging.message import Answer, Received
from messaging.parking import Policy
from messaging.received import read
from messaging.routes import Routes
from messaging.snapshot import Claim, Subject
from messaging.stored import StoredRecord, stored

TIMER = "timer-"

# A row, with what is ahead of it and behind it in its lane.
ROW = """
    SELECT p.*, lane.behind, ahead.n AS ahead, ahead.reason AS ahead_reason
      FROM messaging.parked p
     CROSS JOIN LATERAL (SELECT count(*) AS behind FROM messaging.parked o
                          WHERE o.kind = p.kind AND o.subject = p.subject AND o.source = p.source AND o.n > p.n) lane
      LEFT JOIN LATERAL (SELECT n, reason FROM messaging.parked o
                          WHERE o.kind = p.kind AND o.subject = p.subject AND o.source = p.source AND o.n < p.n
                          ORDER BY n LIMIT 1) ahead ON true
     WHERE p.n = $1"""
HALTED = "SELECT * FROM messaging.timer WHERE id = $1 AND not_before = 'infinity'"
STOPPED = "SELECT topic, faults FROM messaging.stop WHERE topic = $1 AND since IS NOT NULL"
DIGEST = "SELECT digest FROM messaging.inbox WHERE source = $1 AND id = $2"


class NotPossible(Exception):
    """Nothing was done: why, as a code and as a sentence, and what a person needs to know to go on."""

    def __init__(self, reason: str, sentence: str, status: int = 409, **more: Any) -> None:
        super().__init__(reason)
        self.reason, self.sentence, self.status, self.more = reason, sentence, status, more


@dataclass(slots=True)
class Work:
    """One try at a wish: the state row that it is judged under, the draft of its write, and what will be said and answered."""

    asked: Received
    reason: str | None
    subject: Subject
    draft: Draft
    policy: Policy
    said: dict[str, Any] = field(default_factory=dict)
    reply: dict[str, Any] = field(default_factory=dict)
    about: Envelope | None = None

    @property
    def number(self) -> int:
        """The number under which the write judges all of it."""
        return self.draft.number(self.subject)

    def park(self, what: str, **row: Any) -> None:
        """One thing that `messaging.park` is to carry out."""
        self.draft.parking.setdefault(what, []).append({"state": self.number, **row})

    def ends(self, row: Any, outcome: str, reason: str | None) -> None:
        """The claim of a row that was set aside gets another outcome."""
        message = replace(self.asked, claim=(row["source"], row["id"]), lane_row=row["n"])
        self.draft.claim(message, self.number, Answer(outcome, reason))

    def settles(self, row: Any) -> None:
        """What has no lane is settled once each time that it was set aside, since no version guards it."""
        once = self.asked.claim[0], f"row-{row['n']}-{row['attempts']}"
        self.draft.claim(replace(self.asked, claim=once), self.number, Answer("applied"))


@dataclass(frozen=True, slots=True)
class Row:
    """A record in its lane."""

    row: Any

    @property
    def place(self) -> Claim | None:
        """The state row whose lock guards it; None means our own."""
        return (self.row["kind"], self.row["subject"]) if self.row["kind"] else None

    def retry(self, work: Work) -> None:
        """The head of a lane is due again; what is behind it follows by itself."""
        if self.row["ahead"] is not None:
            first = f"{self.row['ahead']} ({self.row['ahead_reason']})"
            raise NotPossible("not-at-head", f"row {first} of the same lane is ahead and goes first", ahead=self.row["ahead"])
        _check_bytes(self.row)
        self._tell(work)
        work.ends(self.row, "waiting", "retried")
        work.park("due", n=self.row["n"])
        work.reply |= {"outcome": "due", "behind": self.row["behind"]}

    def discard(self, work: Work) -> None:
        """It is dropped for ever, and its lane goes on without it."""
        self._tell(work)
        work.ends(self.row, "discarded", work.reason)
        work.park("drop", n=self.row["n"], source=self.row["source"])
        if self.place is None:
            work.settles(self.row)
        work.reply |= {"outcome": "discarded", "behind": self.row["behind"]}

    def _tell(self, work: Work) -> None:
        known = not self.row["source"].startswith("kafka:")
        work.said |= {
            "event_source": self.row["source"] if known else None, "event_id": self.row["id"] if known else None,
            "event_type": self.row["type"], "topic": self.row["topic"], "partition": self.row["part"],
            "offset": self.row["position"],
        }  # fmt: skip
        work.about = _envelope(stored(self.row)) if self.place else None


@dataclass(frozen=True, slots=True)
class Alone(Row):
    """A record without a lane, and what it is read as today: None when it is nobody's concern here.

    `done` is the digest of what its (source, id) stands for already.
    """

    message: Received | None = None
    done: bytes | None = None

    @property
    def place(self) -> Claim | None:
        """The lane it goes to when it can be read after all."""
        if self.message and self.message.kept and self.message.subject and not self.message.trouble:
            return self.message.kept.kind, self.message.subject
        return None

    def retry(self, work: Work) -> None:
        """It goes to its lane, at the place of its age."""
        message = self._readable()
        work.settles(self.row)
        if message.claim == (self.row["source"], self.row["id"]):
            work.ends(self.row, "waiting", "retried")
        else:
            work.ends(self.row, "applied", "read-after-all")
            work.draft.claim(message, work.number, Answer("waiting", "retried"))
        work.park(
            "move", n=self.row["n"], source=message.claim[0], id=message.claim[1], type=message.envelope.type,
            gives_up_at=work.draft.now + work.policy.early_limit,
        )  # fmt: skip
        work.subject.blocked.add(message.claim[0])
        self._tell(work)
        work.reply |= {"outcome": "due", "behind": 0}

    def _readable(self) -> Received:
        message = self.message
        _check_bytes(self.row)
        if message is None:
            raise NotPossible("not-ours", "it concerns nobody here: discard it")
        if message.trouble or self.place is None:
            trouble = message.trouble
            raise NotPossible(
                "still-unreadable", "it still cannot be read: discard it, or have this service upgraded first",
                cause=trouble and trouble.reason, path=trouble and trouble.path,
            )  # fmt: skip
        if message.claim != (self.row["source"], self.row["id"]) and self.done is not None:
            same = self.done == digest_of(message)
            why = "was done already" if same else "stands for other content that came first"
            raise NotPossible("done-already" if same else "same-id-other-content", f"its source and id {why}: discard it")
        return message


@dataclass(frozen=True, slots=True)
class HaltedTimer:
    """A timer that our code failed on too often."""

    row: Any

    @property
    def place(self) -> Claim:
        """The state row of its subject."""
        return self.row["kind"], self.row["subject"]

    def retry(self, work: Work) -> None:
        """It is due again, as if it had never failed."""
        row, number = self.row, work.number
        timer = number, row["name"], row["id"], row["due"], row["fires_anyway"], row["cause"]
        work.draft.timers[number, row["name"]] = timer
        work.said |= {"event_id": row["id"], "event_type": f"timer:{row['name']}"}
        work.reply |= {"outcome": "due", "behind": 0}

    def discard(self, _: Work) -> None:
        """Never."""
        raise NotPossible("timers-stay", "a timer is somebody's deadline and is never discarded: mend its cause, then retry it")


@dataclass(frozen=True, slots=True)
class StoppedTopic:
    """A topic that nobody of this service reads on."""

    row: Any
    place = None

    def resume(self, work: Work) -> None:
        """It is read on, and faults are counted anew."""
        work.park("resume", topic=self.row["topic"])
        work.said |= {"topic": self.row["topic"], "count": self.row["faults"]}
        work.reply |= {"outcome": "resumed", "faults": self.row["faults"]}


Target = Row | HaltedTimer | StoppedTopic


async def find(connection: Any, action: str, name: str, routes: Routes) -> Target | None:
    """What a name stands for: a topic to resume, `timer-<id>`, or the number of a row. Only who retries reads its bytes."""
    if action == "resume":
        topic = await connection.fetchrow(STOPPED, name)
        return StoppedTopic(topic) if topic else None
    if name.startswith(TIMER):
        timer = await connection.fetchrow(HALTED, name.removeprefix(TIMER))
        return HaltedTimer(timer) if timer else None
    row = await connection.fetchrow(ROW, int(name)) if name.isdecimal() else None
    if row is None or row["kind"] is not None or action != "retry":
        return Row(row) if row else None
    message = read(stored(row), routes)
    return Alone(row, message, await connection.fetchval(DIGEST, *message.claim) if message else None)


def _check_bytes(row: Any) -> None:
    if row["value"] is None and row["size"]:
        raise NotPossible(
            "too-large", "its bytes were too many to keep, so it cannot be tried again: ask its sender for a smaller one",
            size=row["size"],
        )  # fmt: skip


def _envelope(record: StoredRecord) -> Envelope | None:
    try:
        return read_record(record.headers, record.value)[0]
    except EnvelopeError:
        return None


act: dict[str, Callable[[Any, Work], None]] = {
    "retry": lambda target, work: target.retry(work),
    "discard": lambda target, work: target.discard(work),
    "resume": lambda target, work: target.resume(work),
}
