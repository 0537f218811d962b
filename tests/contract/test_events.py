"""Each event has a golden sample that today's code reads and writes unchanged, a fresh schema, and room to grow."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from contracts.binary import attributes_of
from contracts.catalog import TYPES
from contracts.docs import stale
from contracts.event import REGISTRY, Event, problems_of
from contracts.schemas import schema_of
from contracts.structured import read_structured, structured
from contracts.topics import OWNED, topic_of

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"
CANARY = "Zebulon-Quagmire-5550142"
PARKED = "care.rapport.parked."
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(CANARY) | st.just(f"{CANARY}\x00") | st.just(f"2026-{CANARY}"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["code", "need", CANARY]), inner, max_size=3),
    max_leaves=5,
)


def golden(event_type: str) -> dict[str, Any]:
    members: dict[str, Any] = json.loads((GOLDEN / f"{event_type}.json").read_text(encoding="utf-8"))
    return members


def test_every_event_has_a_golden_sample_and_no_sample_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == TYPES


@pytest.mark.parametrize("event_type", sorted(TYPES))
def test_a_golden_sample_is_read_and_written_unchanged(event_type: str) -> None:
    members = golden(event_type)
    envelope, data = read_structured(json.dumps(members))
    event = REGISTRY[event_type].model_validate_json(data)
    assert event.model_dump(mode="json", exclude_none=True) == members["data"]
    assert structured(attributes_of(envelope), members["data"]) == members


@pytest.mark.parametrize("event_type", sorted(TYPES))
def test_a_reader_ignores_what_a_later_producer_adds(event_type: str) -> None:
    data = golden(event_type)["data"]
    assert REGISTRY[event_type].model_validate(grown(data)) == REGISTRY[event_type].model_validate(data)


def grown(data: Any) -> Any:
    """The same data with a field nobody knows added to every object in it."""
    if isinstance(data, list):
        return [grown(item) for item in data]
    return {**{k: grown(v) for k, v in data.items()}, "added_in_2030": {"x": [1]}} if isinstance(data, dict) else data


@pytest.mark.parametrize("event_type", sorted(TYPES))
def test_every_field_says_what_it_means(event_type: str) -> None:
    assert [name for name, field in REGISTRY[event_type].model_fields.items() if not field.description] == []


@pytest.mark.parametrize("event_type", sorted(t for t in TYPES if not t.startswith(PARKED)))
def test_only_its_owner_says_an_event(event_type: str) -> None:
    source = golden(event_type)["source"]
    assert source.startswith("/rapport/") == (topic_of(event_type) in OWNED)
    assert source == OWNED.get(topic_of(event_type), source)


def test_the_generated_documents_are_fresh() -> None:
    assert stale(ROOT) == []


INSTANTS = [
    (event_type, name)
    for event_type in sorted(TYPES)
    for name, field in schema_of(REGISTRY[event_type]).get("properties", {}).items()
    if '"date-time"' in json.dumps(field)
]


@pytest.mark.parametrize(("event_type", "name"), INSTANTS)
@pytest.mark.parametrize("value", ["2026-11-23T09:00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_an_instant_has_a_zone_and_a_year_that_can_be_reckoned_with(event_type: str, name: str, value: str) -> None:
    data = {**golden(event_type)["data"], name: value}
    with pytest.raises(ValidationError) as refusal:
        REGISTRY[event_type].model_validate(data)
    assert [problem.path for problem in problems_of(refusal.value)] == [f"/{name}"]


@given(st.sampled_from(sorted(TYPES)), st.data())
def test_problems_never_quote_the_payload(event_type: str, data: st.DataObject) -> None:
    broken = dict(golden(event_type)["data"])
    for name in data.draw(st.lists(st.sampled_from([*sorted(broken), CANARY]), max_size=3)):
        broken[name] = data.draw(JSON)
    for problem in problems_with(REGISTRY[event_type], json.dumps(data.draw(st.sampled_from([broken, CANARY, [CANARY]])))):
        assert not any(piece in problem for piece in ("Zebulon", "Quagmire", "5550142"))


def problems_with(event: type[Event], text: str) -> list[str]:
    try:
        event.model_validate_json(text)
    except ValidationError as error:
        return [problem.model_dump_json() for problem in problems_of(error)]
    return []


@pytest.mark.parametrize("name", ["contracts", "messaging", "cli", "intake", "matching", "followup", "oversight"])
def test_the_package_is_ours_and_not_one_of_the_same_name_from_a_registry(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__file__ is not None
    assert Path(module.__file__).is_relative_to(ROOT)
