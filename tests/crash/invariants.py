"""What must be true after any death: each word once and in its lane, everything said in order, nothing left lying."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import TopicPartition

# All that is compared, in one look.
FACTS = """
    SELECT (SELECT json_agg(json_build_array(subject, body -> 'words')) FROM messaging.state
             WHERE jsonb_typeof(body -> 'words') = 'array') AS journals,
           (SELECT json_agg(json_build_array(outcome, source, subject, reason) ORDER BY n) FROM messaging.parked) AS parked,
           (SELECT json_agg(json_build_array(subject, word) ORDER BY n) FROM public.kept) AS kept,
           (SELECT json_agg(name ORDER BY name) FROM messaging.timer) AS timers,
           (SELECT count(*) FROM messaging.outbox o JOIN messaging.relay r USING (shard) WHERE o.n > r.sent) AS unsent"""


@dataclass(frozen=True)
class Expected:
    """How a scenario ends: the words of each lane of a subject, the effects, what is set aside, the timers that stay."""

    lanes: Mapping[str, Sequence[Sequence[str]]]
    parked: Sequence[tuple[str, str, str | None, str]] = ()
    kept: Sequence[tuple[str, str]] = ()
    timers: Sequence[str] = ()


def compared(expected: Expected, facts: Mapping[str, Any]) -> list[str]:
    """What is otherwise than expected."""
    wrong = []
    journals = {subject: [word.rstrip("?") for word in words] for subject, words in facts["journals"]}
    for subject, lanes in expected.lanes.items():
        words = journals.pop(subject, [])
        if sorted(words) != sorted({word for lane in lanes for word in lane}):
            wrong.append(f"{subject} has {words} instead of {lanes}")
        elif any([word for word in words if word in lane] != list(lane) for lane in lanes):
            wrong.append(f"{subject} has {words} in another order than {lanes}")
    if journals:
        wrong.append(f"nobody expected {journals}")
    by_lane = sorted(map(tuple, facts["parked"]), key=lambda row: (str(row[2]), row[1]))
    if by_lane != sorted(expected.parked, key=lambda row: (str(row[2]), row[1])):
        wrong.append(f"set aside: {by_lane} instead of {expected.parked}")
    if sorted(map(tuple, facts["kept"])) != sorted(expected.kept):
        wrong.append(f"effects: {facts['kept']} instead of {expected.kept}")
    if facts["timers"] != sorted(expected.timers):
        wrong.append(f"timers: {facts['timers']} instead of {expected.timers}")
    return wrong + ([f"{facts['unsent']} rows are not sent"] if facts["unsent"] else [])


def said_in_order(rows: Sequence[Any], journals: Mapping[str, Sequence[str]]) -> list[str]:
    """Where a counter has a gap, or something was said in another order than it was written."""
    wrong, sequences, words = [], defaultdict(list), defaultdict(list)
    for row in rows:
        sequences[row["key"]].append(int(dict(json.loads(row["headers"]))["ce_sequence"]))
        words[row["key"]].append(json.loads(row["value"]).get("word"))
    for subject, found in sequences.items():
        if found != list(range(1, len(found) + 1)):
            wrong.append(f"the counter of {subject} is {found}")
    for subject, written in journals.items():
        if [word for word in words[subject] if word in written] != list(written):
            wrong.append(f"about {subject} was said {words[subject]}, and its journal is {written}")
    return wrong


def relayed(rows: Sequence[Any], read: Mapping[TopicPartition, Sequence[str]]) -> list[str]:
    """Which shards did not reach the broker whole, first occurrences in the order of the outbox."""
    wrong = []
    due: dict[TopicPartition, list[str]] = defaultdict(list)
    for row in rows:
        due[TopicPartition(row["topic"], row["shard"])].append(dict(json.loads(row["headers"]))["ce_id"])
    for place, ids in due.items():
        first = list(dict.fromkeys(found for found in read.get(place, ()) if found in set(ids)))
        if first != ids:
            wrong.append(f"{place} has {first} instead of {ids}")
    return wrong
