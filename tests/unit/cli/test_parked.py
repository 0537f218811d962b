"""`rapport parked` asks services over HTTP, one action after the other: pace, failures one by one, a clean stop."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from typer.testing import CliRunner, Result

from cli.app import app
from cli.operating.acting import pace
from cli.stack.errors import StackError

SERVICES = ("intake", "matching", "followup", "oversight")
ROWS = [
    {
        "n": n, "target": str(n), "outcome": "parked", "reason": "handler-KeyError", "path": None,
        "type": "care.rapport.x.made.v1",
        "kind": "plan", "subject": f"s-{n}", "source": "/portal", "id": f"e-{n}", "topic": "t", "partition": 1, "offset": n,
        "size": 2, "at": "2026-11-23T09:00:00.123Z", "retry_at": "2026-11-23T09:00:00Z", "attempts": n, "ahead": 0, "behind": 2,
    }
    for n in range(1, 6)
]  # fmt: skip


class Service(ThreadingHTTPServer):
    """A service that remembers what it was asked, and refuses some of it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, dict[str, str], Any]] = []
        self.refuses: set[str] = set()
        self.drops = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        page = [row for row in ROWS if row["n"] > int(asked.get("after", 0))][: min(2, int(asked.get("limit", 2)))]  # type: ignore[operator]
        fits = [row for row in page if asked.get("reason", row["reason"]) == row["reason"]]
        stopped = [{"topic": "t", "since": "2026-11-23T09:00:00Z", "faults": 50}]
        self._answer(200, {"parked": 5, "waiting": 1, "stopped": stopped, "rows": fits})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        target = urlsplit(self.path).path.split("/")[3]
        self.server.asked.append((self.path, dict(self.headers.items()), body))
        if self.server.drops:
            self.server.drops -= 1
            self.close_connection = True
            return
        if target in self.server.refuses:
            self._answer(409, {"title": "row 1 of the same lane is ahead", "reason": "not-at-head"})
        else:
            self._answer(200, {"outcome": "due", "behind": 2, "dry_run": "dry_run=true" in self.path})

    def _answer(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@contextmanager
def serving() -> Iterator[Service]:
    with Service() as service:
        thread = threading.Thread(target=service.serve_forever, args=(0.01,))
        thread.start()
        yield service
        service.shutdown()
        thread.join()


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    with serving() as made:
        for name in SERVICES:
            monkeypatch.setenv(f"RAPPORT_{name.upper()}_URL", made.url)
        yield made


def rapport(*words: str) -> Result:
    return CliRunner().invoke(app, ["parked", *words], env={"COLUMNS": "80"})


def test_a_filter_takes_everything_that_fits_page_by_page_and_says_who_and_why(service: Service) -> None:
    ran = rapport(
        "retry", "--service", "matching", "--parked-for", "handler-KeyError", "--reason", "upgraded", "--actor", "olga"
    )
    assert ran.exit_code == 0
    assert ran.output.splitlines()[-1] == "5 done, 0 failed"
    assert [path for path, _, _ in service.asked] == [f"/v1/parked/{n}/retry?dry_run=false" for n in range(1, 6)]
    assert {(headers["X-Actor"], body["reason"]) for _, headers, body in service.asked} == {("olga", "upgraded")}
    assert len({headers["Idempotency-Key"] for _, headers, _ in service.asked}) == 5


def test_failures_are_shown_one_by_one_and_the_others_are_done(service: Service) -> None:
    service.refuses = {"2", "4"}
    ran = rapport("retry", *(f"intake/{n}" for n in range(1, 5)))
    assert ran.exit_code == 1
    assert ran.output.splitlines() == [
        "intake/1 due, 2 behind it follow", "intake/2 FAILED: row 1 of the same lane is ahead",
        "intake/3 due, 2 behind it follow", "intake/4 FAILED: row 1 of the same lane is ahead", "2 done, 2 failed",
    ]  # fmt: skip


def test_a_dry_run_is_asked_as_one(service: Service) -> None:
    ran = rapport("discard", "intake/1", "--reason", "garbage", "--dry-run")
    assert ran.output.splitlines() == [
        "intake/1 would be due, 2 behind it follow",
        "1 done, 0 failed (dry run: nothing was done)",
    ]
    assert service.asked[0][0] == "/v1/parked/1/discard?dry_run=true"


def test_ctrl_c_stops_between_two_and_says_how_far_it_came(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("cli.operating.acting.time.sleep", sleep)
    ran = rapport("retry", *(f"intake/{n}" for n in range(1, 6)), "--rate", "5/s")
    assert ran.exit_code == 130
    assert ran.output.splitlines()[-1] == "stopped: 2 done, 0 failed, 3 not touched"
    assert len(service.asked) == 2


def test_many_are_done_at_the_pace_that_was_asked_for(service: Service) -> None:
    started = monotonic()
    assert rapport("retry", *(f"intake/{n}" for n in range(1, 5)), "--rate", "10/s").exit_code == 0
    assert monotonic() - started >= 0.3


def test_an_answer_that_is_lost_is_asked_for_again_under_the_same_key(service: Service) -> None:
    service.drops = 1
    ran = rapport("discard", "intake/1", "--reason", "garbage")
    assert ran.exit_code == 0
    first, second = (headers["Idempotency-Key"] for _, headers, _ in service.asked)
    assert first == second


def test_the_list_names_rows_reasons_places_and_what_is_stopped(service: Service) -> None:
    ran = rapport("list", "--service", "followup")
    lines = ran.output.splitlines()
    assert lines[0].split() == ["row", "since", "reason", "type", "tries", "behind", "record", "subject"]
    assert lines[1].split() == ["followup/1", "11-23", "09:00:00", "handler-KeyError", "made", "1", "2", "t/1@1", "s-1"]
    assert lines[6].startswith("followup stopped reading t after 50 faults of our own")
    assert lines[-1] == "5 wait for a person, 1 for their turn or their subject"
    told = json.loads(rapport("list", "--service", "followup", "--json").output)
    assert ([row["n"] for row in told["rows"]], told["services"]["followup"]["waiting"]) == ([1, 2, 3, 4, 5], 1)


def test_a_service_that_does_not_answer_is_named_and_the_others_are_listed(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAPPORT_MATCHING_URL", "http://127.0.0.1:9")
    ran = rapport("list")
    assert ran.exit_code == 1
    assert "matching does not answer" in ran.output
    assert "15 wait for a person" in ran.output


@pytest.mark.parametrize(("text", "per_second"), [("5", 5.0), ("0.5/s", 0.5), ("30/m", 0.5), (None, None)])
def test_a_pace_is_a_number_per_second_or_minute(text: str | None, per_second: float | None) -> None:
    assert pace(text) == per_second


@pytest.mark.parametrize("text", ["fast", "0", "-1/s", "5/h", ""])
def test_what_is_no_pace_is_a_sentence(text: str) -> None:
    with pytest.raises(StackError, match="is no pace"):
        pace(text)
