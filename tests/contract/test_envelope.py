"""The envelope and the `cloudevents` package read each other's Kafka records, in both modes, and refuse without quoting."""

import json
import string
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings import kafka
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from contracts.binary import attributes_of, to_headers
from contracts.envelope import OURS, Envelope, parse_attributes
from contracts.record import read_record
from contracts.refusal import EnvelopeError
from contracts.structured import read_structured, structured

NONCHARACTERS = "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
LETTERS = st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"], exclude_characters=NONCHARACTERS)
TEXT = st.text(LETTERS, min_size=1, max_size=60)
INSTANT = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2199, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
FORMED = {
    "sensitivity": st.from_regex(r"[a-z0-9-]{1,60}", fullmatch=True),
    "traceparent": st.from_regex(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]", fullmatch=True),
}
DATA = st.dictionaries(TEXT, st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT | st.lists(TEXT), max_size=5)
CANARY = "Zebulon-Quagmire-5550142"


@st.composite
def envelopes(draw: st.DrawFn) -> Envelope:
    known: dict[str, Any] = {"id": draw(TEXT), "type": draw(TEXT), "time": draw(INSTANT)}
    known["source"] = draw(st.sampled_from(["", OURS])) + draw(TEXT)
    for name in Envelope.model_fields:
        if name not in ("id", "type", "time", "source", "sequence", "recordedtime") and draw(st.booleans()):
            known[name] = draw(FORMED.get(name, TEXT))
    if known["source"].startswith(OURS):
        known["sequence"] = draw(st.none() | st.integers(0, 2**63 - 1))
    return Envelope(**known, recordedtime=draw(st.none() | INSTANT))


def as_theirs(envelope: Envelope, data: Any) -> CloudEvent:
    attributes = {**attributes_of(envelope), "time": envelope.time, "datacontenttype": "application/json"}
    return CloudEvent(attributes, data)


def attributes_read(event: Any) -> dict[str, Any]:
    return {k: v for k, v in event.get_attributes().items() if k not in ("datacontenttype", "partitionkey")}


def expected(envelope: Envelope) -> dict[str, Any]:
    return {**attributes_of(envelope), "time": envelope.time}


@given(envelopes(), DATA)
def test_they_read_what_we_write_in_binary_mode(envelope: Envelope, data: dict[str, Any]) -> None:
    headers = dict(to_headers(attributes_of(envelope)))
    hop = headers.pop("traceparent", None)
    event = kafka.from_kafka_event(kafka.KafkaMessage(headers, "key", json.dumps(data).encode()))
    assert attributes_read(event) == {k: v for k, v in expected(envelope).items() if k != "traceparent"}
    assert (hop or b"").decode() == (envelope.traceparent or "")
    assert (event.get_data() or {}) == data


@given(envelopes(), DATA)
def test_they_read_what_we_write_in_structured_mode(envelope: Envelope, data: dict[str, Any]) -> None:
    value = json.dumps(structured(attributes_of(envelope), data)).encode()
    headers = {"content-type": b"application/cloudevents+json"}
    event = kafka.from_kafka_event(kafka.KafkaMessage(headers, "key", value))
    assert attributes_read(event) == expected(envelope)
    assert event.get_data() == data


@given(envelopes(), DATA)
def test_we_read_what_they_write_in_binary_mode(envelope: Envelope, data: dict[str, Any]) -> None:
    message = kafka.to_binary_event(as_theirs(envelope, data))
    read, value = read_record(message.headers.items(), message.value)
    assert read == envelope
    assert json.loads(value) == data


@given(envelopes(), DATA | st.binary(max_size=30))
def test_we_read_what_they_write_in_structured_mode(envelope: Envelope, data: Any) -> None:
    message = kafka.to_structured_event(as_theirs(envelope, data))
    read, value = read_record(message.headers.items(), message.value)
    assert read == envelope
    assert (value if isinstance(data, bytes) else json.loads(value)) == data


@given(st.dictionaries(st.sampled_from(list(Envelope.model_fields)), st.none() | TEXT | st.integers()), TEXT)
def test_anything_else_is_an_envelope_error_and_nothing_worse(members: dict[str, Any], extra: str) -> None:
    texts = {"specversion": "1.0", **members, extra: extra}
    read = read_or_refused(texts)
    assert isinstance(read, Envelope) or read.path.startswith("ce_")


def read_or_refused(texts: dict[str, Any]) -> Envelope | EnvelopeError:
    try:
        return parse_attributes(texts)
    except EnvelopeError as error:
        return error


@given(st.binary())
def test_any_bytes_are_an_envelope_error_and_nothing_worse(value: bytes) -> None:
    with pytest.raises(EnvelopeError):
        read_structured(value)


STRUCTURED = [("content-type", b"application/cloudevents+json")]
REQUIRED = {"specversion": "1.0", "id": "1", "source": "/hospital", "type": "t", "time": "2026-11-23T09:00:00Z"}


@pytest.mark.parametrize("name", [*(name for name in Envelope.model_fields if name != "traceparent"), "specversion"])
@pytest.mark.parametrize("value", [f"{CANARY}\n", f"{CANARY}\ufffe", CANARY * 100, {"name": CANARY}, [CANARY]])
def test_a_refusal_names_the_attribute_and_never_its_value(name: str, value: Any) -> None:
    with pytest.raises(EnvelopeError) as refusal:
        parse_attributes(
            {**REQUIRED, "source": "/rapport/intake", "sequence": "1", "recordedtime": REQUIRED["time"], name: value}
        )
    assert f"ce_{name}" in str(refusal.value)
    assert not any(piece in f"{refusal.value!r} {refusal.value}" for piece in CANARY.split("-"))
    assert refusal.value.__cause__ is None


@pytest.mark.parametrize(
    ("headers", "value", "path"),
    [
        ([], b"{}", "ce_specversion"),
        ([("ce_specversion", b"1.0"), ("ce_id", None)], b"{}", "ce_id"),
        ([("ce_specversion", b"1.0"), ("ce_id", b"\xff")], b"{}", "ce_id"),
        ([("ce_specversion", b"1.0")], None, "value"),
        (STRUCTURED, None, "value"),
        ([("content-type", b"application/cloudevents+json; charset=utf-8")], b"[" * 100_000, "value"),
        ([("content-type", b"application/cloudevents-batch+json")], b"[]", "value"),
        (STRUCTURED, json.dumps(REQUIRED).encode(), "data"),
        (STRUCTURED, json.dumps({**REQUIRED, "data_base64": "%"}).encode(), "data_base64"),
    ],
)  # fmt: skip
def test_an_unreadable_record_says_where(headers: list[tuple[str, bytes | None]], value: bytes | None, path: str) -> None:
    with pytest.raises(EnvelopeError) as refusal:
        read_record(headers, value)
    assert refusal.value.path == path


def test_headers_that_are_not_the_event_s_own_are_never_looked_into() -> None:
    theirs: list[tuple[str, bytes | None]] = [("id", b"other"), ("subject", b"other"), ("trace-bin", b"\xff\xfe"), ("x", None)]
    headers = [*theirs, *to_headers(REQUIRED)]
    assert read_record(headers, b"{}")[0] == parse_attributes(REQUIRED)


@pytest.mark.parametrize("value", [CANARY, CANARY.encode(), b"\xff", {"name": CANARY}, 7, f"00-{'a' * 32}-{'b' * 16}-01\n"])
def test_a_traceparent_that_is_none_is_passed_over(value: Any) -> None:
    assert parse_attributes({**REQUIRED, "traceparent": value}).traceparent is None


def test_a_sensitivity_that_is_no_code_is_refused_since_it_would_go_on_into_our_events() -> None:
    with pytest.raises(EnvelopeError) as refusal:
        parse_attributes({**REQUIRED, "sensitivity": f"{CANARY} said no"})
    assert (refusal.value.path, CANARY in str(refusal.value)) == ("ce_sensitivity", False)


def test_a_sequence_means_a_count_only_when_it_is_ours() -> None:
    assert parse_attributes({**REQUIRED, "sequence": "a-17"}).sequence is None
    with pytest.raises(EnvelopeError):
        parse_attributes({**REQUIRED, "source": "/rapport/intake", "sequence": "a-17"})


def test_sequences_sort_as_text_as_they_do_as_numbers() -> None:
    texts = [attributes_of(Envelope(id="1", source=OURS, type="t", time=datetime.now(UTC), sequence=n)) for n in (9, 10, 111)]
    assert [t["sequence"] for t in texts] == sorted(t["sequence"] for t in texts)


@given(st.text(string.digits + "-:T.Z+", max_size=30))
def test_times_are_read_as_utc_or_refused(text: str) -> None:
    read = read_or_refused({**REQUIRED, "time": text})
    assert read.path == "ce_time" if isinstance(read, EnvelopeError) else read.time.tzinfo is UTC
