"""`rapport episode`, `handoffs`, `at-risk`, `custody check --ledger`: what oversight answered, or what was wrong."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.support.journeys import DAY, EPISODE, Journey, whole_journey
from typer.testing import CliRunner, Result

from cli.app import app
from cli.operating.tables import span
from cli.stack.errors import StackError
from contracts.binary import attributes_of
from contracts.custody import Recorded
from oversight import views

HANDOFF = "1b4ac2a3-5f1c-5b7e-9d5a-0b3c8f4f9a11"
STANDING = {
    "handoff_id": HANDOFF, "episode": EPISODE, "giver": "intake", "receiver": "crisis-desk", "kind": "crisis", "attempt": 2,
    "arbiter": "intake", "previous": None, "state": "offered", "deadline": "2026-11-23T09:05:00Z",
    "offered_at": "2026-11-23T09:00:00Z", "answered_by": None, "late": True,
    "seconds_left": -61.4, "p95_seconds": 90.0, "needs_seconds": None, "why": "past-deadline",
}  # fmt: skip


class Oversight(ThreadingHTTPServer):
    """Answers what it was told to, and remembers the questions."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, Any] = {}
        self.status = 200
        self.asked: list[tuple[str, dict[str, str], str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Oversight

    def do_GET(self) -> None:
        path, query = urlsplit(self.path).path, {n: v[0] for n, v in parse_qs(urlsplit(self.path).query).items()}
        self.server.asked.append((path, query, self.headers["X-Actor"]))
        told = self.server.answers.get(f"{path}?{query.get('after')}", self.server.answers.get(path))
        body = json.dumps(told if told is not None else {"title": "not found"}, default=lambda at: at.isoformat()).encode()
        self.send_response(self.server.status if told is not None else 404)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def oversight(monkeypatch: pytest.MonkeyPatch) -> Iterator[Oversight]:
    with Oversight() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("RAPPORT_OVERSIGHT_URL", server.url)
        yield server
        server.shutdown()


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words), env={"COLUMNS": "60"})


def said(result: Result) -> str:
    """The sentence of an error that was foreseen."""
    assert isinstance(result.exception, StackError), f"{result.output}{result.exception}"
    return str(result.exception)


def rows_of(events: list[Recorded]) -> list[tuple[str, bytes]]:
    return [(json.dumps(attributes_of(e)), d.model_dump_json(exclude_none=True).encode()) for e, d in events]


def custody_of(journey: Journey) -> dict[str, Any]:
    told = views.custody(rows_of(journey.events), None, journey.now)
    return {"episode": EPISODE, "at": None, "known": None, "events": len(journey.events), **told}


def test_an_episode_shows_its_custodian_everybody_before_and_its_handoffs(oversight: Oversight) -> None:
    oversight.answers[f"/v1/episodes/{EPISODE}/custody"] = custody_of(whole_journey())
    shown = run("episode", EPISODE)
    assert shown.exit_code == 0, shown.exception
    assert f"episode {EPISODE}: followup is custodian (8 events)" in shown.output
    assert [word for word in ("the opening", "intake → matching, attempt 1", "accepted") if word not in shown.output] == []


def test_an_escalated_handoff_says_that_it_was_late_and_to_whom_it_went(oversight: Oversight) -> None:
    journey = Journey()
    arbiter = journey.intake()
    arbiter.offer("crisis-desk", "crisis")
    arbiter.overdue()
    oversight.answers[f"/v1/episodes/{EPISODE}/custody"] = custody_of(journey)
    shown = run("episode", EPISODE).output
    assert "escalated, late" in shown
    assert "to duty-manager" in shown


def test_instants_are_sent_with_their_offset_and_the_name_of_who_reads(oversight: Oversight) -> None:
    oversight.answers[f"/v1/episodes/{EPISODE}/custody"] = custody_of(whole_journey())
    run("episode", EPISODE, "--at", "2026-11-23T10:00:00+01:00", "--known", "2026-11-23T09:30")
    ((_, query, actor),) = oversight.asked
    assert query == {"at": "2026-11-23T09:00:00+00:00", "known": "2026-11-23T09:30:00+00:00"}
    assert (actor or "").startswith("cli:")


@pytest.mark.parametrize("option", ["--at", "--known"])
def test_a_bad_instant_is_answered_with_a_good_one_and_nobody_is_asked(oversight: Oversight, option: str) -> None:
    assert f"{option} 'yesterday' is no instant: write it as 2026-11-23T09:00:00Z" in said(
        run("episode", EPISODE, option, "yesterday")
    )
    assert oversight.asked == []


def test_an_unknown_episode_is_said(oversight: Oversight) -> None:
    assert said(run("episode", "no-such")) == "nothing is recorded about this episode"
    assert said(run("journey", "no-such")) == "nothing is recorded about this episode"


def test_an_oversight_that_does_not_answer_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAPPORT_OVERSIGHT_URL", "http://127.0.0.1:1")
    for words in (["at-risk"], ["handoffs"], ["episode", EPISODE], ["journey", EPISODE], ["custody", "check", "--ledger"]):
        assert "rapport status, or set RAPPORT_OVERSIGHT_URL" in said(run(*words))


def test_a_refusal_says_where_and_what_would_be_right(oversight: Oversight) -> None:
    oversight.status = 422
    oversight.answers["/v1/handoffs"] = {"title": "no", "problems": [{"path": "/limit", "problem": "x", "expected": "less"}]}
    assert said(run("handoffs")) == "oversight answered 422: no; /limit: less"


def test_handoffs_and_risks_name_whom_to_call_and_nothing_is_cut(oversight: Oversight) -> None:
    oversight.answers |= {"/v1/handoffs": [STANDING], "/v1/handoffs/at-risk": [STANDING]}
    for words in (["handoffs", "--late"], ["at-risk"]):
        shown = run(*words)
        assert shown.exit_code == 0, shown.exception
        assert [word for word in (HANDOFF, EPISODE, "intake → crisis-desk, attempt 2") if word not in shown.output] == []
    assert "-0:01:01" in shown.output
    assert "its deadline has passed" in shown.output
    assert oversight.asked[0][1] == {"late": "true", "limit": "100"}


def test_json_is_what_oversight_answered(oversight: Oversight) -> None:
    oversight.answers |= {"/v1/handoffs": [STANDING], "/v1/handoffs/at-risk": [STANDING]}
    assert json.loads(run("handoffs", "--json").output) == json.loads(run("at-risk", "--json").output) == [STANDING]


@pytest.mark.parametrize(("words", "sentence"), [
    (["at-risk"], "no handoff is at risk"),
    (["handoffs"], "no handoff waits for an answer"),
    (["handoffs", "--late"], "no handoff is late"),
    (["handoffs", "--said", "declined"], "no such handoff"),
])  # fmt: skip
def test_nothing_is_said_in_words(oversight: Oversight, words: list[str], sentence: str) -> None:
    oversight.answers |= {"/v1/handoffs": [], "/v1/handoffs/at-risk": []}
    assert run(*words).output == f"{sentence}\n"


def test_the_ledger_is_checked_page_by_page_as_of_one_instant(oversight: Oversight) -> None:
    finding = {"episode": "b", "code": "two", "text": "twice", "handoff_id": None, "pending": False}
    first = {"open": ["a"], "findings": [], "next": "a", "as_of": "2026-11-23T09:00:00Z"}
    last = {"open": ["b"], "findings": [finding], "next": None, "as_of": "2026-11-23T09:00:00Z"}
    oversight.answers |= {"/v1/custody/check": first, "/v1/custody/check?a": last}
    checked = run("custody", "check", "--ledger")
    assert checked.exit_code == 1
    assert checked.output == "FAILED episode b: two: twice\n2 open episodes: 1 with exactly one custodian, 1 without\n"
    assert [query.get("as_of") for _, query, _ in oversight.asked] == [None, "2026-11-23T09:00:00Z"]


def test_a_file_and_the_ledger_are_not_judged_together(oversight: Oversight, tmp_path: Any) -> None:
    file = tmp_path / "history.jsonl"
    file.write_text("")
    assert run("custody", "check", "--ledger", "--history", str(file)).exit_code == 2


def test_a_span_is_read_as_hours_and_minutes() -> None:
    read = {None: "", 0: "0:00:00", 61.4: "0:01:01", -3600: "-1:00:00", DAY.total_seconds(): "1 day, 0:00:00"}
    assert {seconds: span(seconds) for seconds in read} == read
