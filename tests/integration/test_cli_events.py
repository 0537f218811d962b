"""The events commands against a running stack: one client is referred, chooses, is accepted, and everything is shown."""

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli.app import app
from cli.stack import Stack
from contracts.vocabulary import episode_id

GOLDEN = Path(__file__).parents[1] / "contract" / "golden"
Json = dict[str, Any]


@dataclass(frozen=True)
class Rapport:
    """The `rapport` command on one stack."""

    stack: Stack
    folder: Path

    def __call__(self, *words: str) -> Result:
        return CliRunner().invoke(app, [*words, "--home", str(self.stack.home)], env={"COLUMNS": "200"})

    def publish(self, event_type: str, *options: str, **changed: Any) -> Result:
        members = json.loads((GOLDEN / f"{event_type}.json").read_text())
        members |= {"id": str(uuid.uuid4()), "time": datetime.now(UTC).isoformat(), **changed}
        file = self.folder / f"{members['id']}.json"
        file.write_text(json.dumps(members))
        return self("publish", str(file), *options)

    def events(self, *options: str) -> list[Json]:
        return [json.loads(line) for line in self("tail", "--until-now", "--json", *options).output.splitlines()]

    def wait_for(self, episode: str, name: str) -> Json:
        found: list[Json] = until(lambda: self.events("--episode", episode, "--type", name))
        return found[0]


def until(look: Callable[[], Any], seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.2)
    return seen


@pytest.fixture(scope="module")
def rapport(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Rapport:
    return Rapport(stack, tmp_path_factory.mktemp("events"))


@pytest.fixture(scope="module")
def episode(rapport: Rapport) -> str:
    """The episode of a client who was referred, chose the only therapist there is, and was accepted."""
    place = f"US-{uuid.uuid4()}"
    listing = json.loads((GOLDEN / "care.rapport.therapist.listed.v1.json").read_text())["data"]
    rapport.publish("care.rapport.therapist.listed.v1", subject=f"therapist-{place}", data=listing | {"places": [place]})
    referral = json.loads((GOLDEN / "care.rapport.referral.submitted.v1.json").read_text())["data"]
    referral |= {"identifier": place, "respond_by": None}
    referral["need"] |= {"place": place, "urgency": "routine", "modality": "in-person"}
    assert rapport.publish("care.rapport.referral.submitted.v1", subject=place, data=referral).exit_code == 0
    found = episode_id(referral["assigner"], place)
    rapport.wait_for(found, "shortlist-proposed")
    rapport.publish("care.rapport.clinical.choice-made.v1", subject=found, data={"therapist_id": "any"})
    offer = rapport.wait_for(found, "match-offered")["data"]["offer_id"]
    answer = {"offer_id": offer, "answer": "accepted"}
    rapport.publish("care.rapport.clinical.offer-answered.v1", subject=found, data=answer)
    rapport.wait_for(found, "plan-activated")
    until(lambda: len(rapport.events("--episode", found, "--type", "handoff-accepted")) == 2)
    return found


def test_the_journey_shows_the_custodian_at_each_moment_and_reading_it_is_on_the_record(rapport: Rapport, episode: str) -> None:
    shown = until(lambda: _shown(rapport, episode, "HandoffAccepted", 2))
    custodians = [event["custodian"] for event in shown]
    assert list(dict.fromkeys(custodians)) in (["intake", "matching", "followup"], [None, "intake", "matching", "followup"])
    assert until(lambda: _shown(rapport, episode, "LedgerRead", 1))
    assert "PlanActivated" in rapport("journey", episode).output


def _shown(rapport: Rapport, episode: str, name: str, times: int) -> list[Json]:
    result = rapport("journey", episode, "--json")
    events: list[Json] = json.loads(result.output) if result.exit_code == 0 else []
    word = "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name).strip("-")
    return events if sum(f".{word}." in event["type"] for event in events) >= times else []


def test_custody_is_proven_on_the_topics_and_refuted_on_a_doctored_history(rapport: Rapport, episode: str) -> None:
    live = rapport("custody", "check")
    assert f"FAILED episode {episode}" not in live.output
    history = rapport.events("--episode", episode)
    assert _check(rapport, history).exit_code == 0
    doctored = [event for event in history if event["type"] != "care.rapport.intake.handoff-accepted.v1"]
    refuted = _check(rapport, doctored)
    assert refuted.exit_code == 1
    assert f"FAILED episode {episode}: not-custodian" in refuted.output


def _check(rapport: Rapport, history: list[Json]) -> Result:
    file = rapport.folder / f"{uuid.uuid4()}.jsonl"
    file.write_text("\n".join(map(json.dumps, history)))
    return rapport("custody", "check", "--history", str(file))


def test_watch_once_shows_rates_lags_stages_and_what_is_late(rapport: Rapport, episode: str) -> None:
    picture = rapport("watch", "--once").output
    for words in ("events per second", "rapport-oversight", "in follow-up", "late: ", "parked"):
        assert words in picture


def test_a_record_that_is_too_large_is_refused_with_the_limit_and_nothing_is_sent(rapport: Rapport) -> None:
    data = {"therapist_id": "any", "padding": "x" * 2_000_000}
    subject = str(uuid.uuid4())
    checked = rapport.publish("care.rapport.clinical.choice-made.v1", subject=subject, data=data)
    assert (checked.exit_code, "too-large at /data" in checked.output) == (1, True)
    unchecked = rapport.publish("care.rapport.clinical.choice-made.v1", "--no-validate", subject=subject, data=data)
    assert unchecked.exit_code == 1
    assert "the broker refused document" in str(unchecked.exception)
    assert rapport.events("clinical.inbound.v1", "--episode", subject) == []


def test_a_topic_that_does_not_exist_is_named(rapport: Rapport) -> None:
    data = {"therapist_id": "any"}
    answer = rapport.publish("care.rapport.clinical.choice-made.v1", "--topic", "no-such-topic", data=data)
    assert "there is no topic no-such-topic" in str(answer.exception)
    assert "there is no topic no-such-topic" in str(rapport("tail", "no-such-topic", "--until-now").exception)
