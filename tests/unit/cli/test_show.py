"""Lines of `rapport tail` and the custodians of `rapport journey`."""

import json
from dataclasses import dataclass

from tests.support.journeys import EPISODE, whole_journey

from cli.commands.journey import custodians
from cli.commands.tail import Filter, line_of
from contracts.binary import Headers, attributes_of, to_headers
from contracts.structured import read_structured

ALL = Filter(None, None)


@dataclass
class Record:
    headers: Headers
    value: bytes
    topic: str = "intake.events.v1"
    partition: int = 3
    offset: int = 7


def record_of(number: int) -> Record:
    envelope, event = whole_journey().events[number]
    return Record(to_headers(attributes_of(envelope)), event.model_dump_json(exclude_none=True).encode())


def test_the_custodian_of_each_moment_follows_the_order_of_the_record() -> None:
    events = whole_journey().events
    assert list(custodians(events).values()) == ["intake"] * 3 + ["matching"] * 3 + ["followup"] * 2


def test_a_json_line_reads_back_as_the_same_event() -> None:
    record = record_of(1)
    line = line_of(record, ALL, True) or ""
    envelope, data = read_structured(line)
    assert (envelope, json.loads(data)) == (whole_journey().events[1][0], json.loads(record.value))


def test_a_line_for_people_says_where_what_and_about_whom() -> None:
    line = line_of(record_of(1), ALL, False) or ""
    assert line.startswith("intake.events.v1/3@7 ")
    assert f" handoff-offered {EPISODE} " in line
    assert " giver=intake receiver=matching " in line


def test_filters_pass_by_episode_and_by_short_or_whole_type() -> None:
    wanted = ["handoff-offered", "care.rapport.intake.handoff-offered.v1"]
    assert all(line_of(record_of(1), Filter(EPISODE, name), False) for name in wanted)
    assert line_of(record_of(1), Filter("another", None), False) is None
    assert line_of(record_of(1), Filter(None, "plan-activated"), False) is None


def test_what_cannot_be_read_is_said_to_people_and_left_out_of_json() -> None:
    broken = Record([], b"Zebulon Quagmire")
    assert line_of(broken, ALL, False) == "intake.events.v1/3@7 unreadable: ce_specversion: must be '1.0'"
    assert line_of(broken, ALL, True) is None
