"""`python -m oversight ledger`: what it proves holds for somebody with the public key alone, and what is wrong is named."""

import asyncio
import json
import uuid
from base64 import b64decode
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from tests.integration.test_checkpoints import SIGNER, World
from tests.integration.test_oversight_record import records_of
from tests.support.journeys import Journey
from tests.support.stack import FreshDatabase, Infra

from contracts.topics import CHECKPOINTS
from ledger.checkpoints import Checkpoint, cosign, open_checkpoint, sign_checkpoint
from ledger.evidence import Checked, check
from ledger.notes import COSIGNATURE, generate
from ledger.proofs import verify_consistency
from messaging import http
from messaging.metrics import Meters
from messaging.migrate import migrate
from oversight import app, ledger_command
from oversight.app import add_apis
from oversight.consumer import Recorder
from oversight.settings import Settings

WITNESS = generate("witness.test", COSIGNATURE)


class Ledger:
    """A signed ledger in a database of its own, and the command as a person calls it."""

    def __init__(self, infra: Infra, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.database: FreshDatabase = infra.database()
        migrate(self.database.owner_dsn, "oversight")
        infra.topics([CHECKPOINTS], partitions=1, prefix="")
        (folder / "key").write_text(f"{SIGNER.private_text()}\n")
        self.folder, self.outside, self._capsys = folder, folder / "outside", capsys
        self.settings = Settings.model_validate(
            {
                "postgres_dsn": self.database.runtime_dsn, "owner_dsn": self.database.owner_dsn,
                "kafka_bootstrap": infra.bootstrap, "secret_key": "only-for-this-test", "signing_key_file": folder / "key",
                "checkpoint_dir": self.outside,
            }
        )  # fmt: skip

    def on(self, act: Callable[[World], Awaitable[Any]]) -> Any:
        async def run() -> Any:
            owner = await asyncpg.connect(self.database.owner_dsn)
            service = app.build(self.settings)
            await service.open()
            world = World(service, self.outside, owner)
            try:
                return await act(world)
            finally:
                await world.checkpoints.close()
                await service.pool.close()
                await owner.close()

        return asyncio.run(run())

    def record(self, *journeys: Journey, signed: bool = True) -> None:
        async def act(world: World) -> None:
            for journey in journeys:
                await Recorder(world.pool, b"k" * 16, Meters()).take(records_of(journey.events))
            if signed:
                await world.checkpoints.turn()

        self.on(act)

    def sql(self, text: str, *values: Any) -> Any:
        return self.on(lambda world: world.owner.fetch(text, *values))

    def run(self, *words: str) -> tuple[int, str, str]:
        code = ledger_command.main(self.settings, words)
        said = self._capsys.readouterr()
        return code, said.out, said.err

    def proved(self, *words: str) -> Checked:
        code, document, said = self.run(*words)
        assert code == 0, said
        return check(document, [SIGNER.verifier, WITNESS.verifier])


@pytest.fixture
def ledger(infra: Infra, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Ledger:
    return Ledger(infra, tmp_path, capsys)


def begun() -> Journey:
    """An episode of its own whose first handoff was offered and accepted."""
    journey, episode, handoff = Journey(), str(uuid.uuid4()), str(uuid.uuid4())
    arbiter = journey.intake()
    arbiter.offer("matching")
    arbiter.accept()
    journey.events = [
        (
            envelope.model_copy(update={"subject": episode, "id": str(uuid.uuid4())}),
            event.model_copy(update={"handoff_id": handoff}) if hasattr(event, "handoff_id") else event,
        )
        for envelope, event in journey.events
    ]
    return journey


def about_handoff(journey: Journey) -> list[str]:
    return [envelope.id for envelope, event in journey.events if hasattr(event, "handoff_id")]


def handoff_of(journey: Journey) -> str:
    return next(str(event.handoff_id) for _, event in journey.events if hasattr(event, "handoff_id"))


def test_all_events_of_a_handoff_are_proved_and_the_reading_is_recorded(ledger: Ledger) -> None:
    mine = begun()
    ledger.record(begun(), mine, begun())
    checked = ledger.proved("prove", handoff_of(mine), "--actor", "auditor", "--purpose", "audit")
    assert [each.entry.id for each in checked.entries] == (about := about_handoff(mine))
    assert all(json.loads(each.entry.data or b"")["handoff_id"] == handoff_of(mine) for each in checked.entries)
    (said,) = ledger.sql("SELECT value FROM messaging.outbox")
    read = json.loads(said["value"])
    assert (read["reader"], read["purpose"], read["entries"]) == ("auditor", "audit", len(about))


def test_one_event_is_proved_at_an_older_size_and_under_what_a_witness_keeps(ledger: Ledger) -> None:
    first = begun()
    ledger.record(first)
    size, event = len(first.events), first.events[1][0].id
    kept = ledger.folder / "kept"
    kept.write_text(cosign((ledger.outside / "checkpoint").read_text(), WITNESS, 1_790_000_000))
    ledger.record(begun())
    assert ledger.proved("prove", event).size == 2 * size
    assert ledger.proved("prove", event, "--at-size", str(size)).size == size
    assert ledger.proved("prove", event, "--checkpoint", str(kept)).cosigned == {WITNESS.name: 1_790_000_000}
    grown = ledger.proved("consistency", str(kept))
    assert (grown.old_size, grown.size) == (size, 2 * size)


def test_a_good_ledger_is_verified_with_what_services_said(ledger: Ledger) -> None:
    mine = begun()
    ledger.record(begun(), mine)
    ledger.sql("INSERT INTO reconciled VALUES ('/rapport/intake', 3, 7, 'x', 1, '2026-11-23 09:00:00+00')")
    code, out, _ = ledger.run("verify")
    assert (code, out.splitlines()[-1]) == (0, "all good"), out
    assert "reconciled   /rapport/intake: 7 events, as it said until 2026-11-23 09:00:00Z" in out
    assert f"signed by {SIGNER.name}" in out
    code, out, _ = ledger.run("verify", "--handoff", handoff_of(mine))
    assert (code, out.count("proven "), out.splitlines()[-1]) == (0, len(about_handoff(mine)), "all good"), out


def test_a_claim_that_failed_is_named_and_exits_1(ledger: Ledger) -> None:
    ledger.record(begun())
    ledger.sql(
        """INSERT INTO claimed (source, part, count, digest, last_id, at, problem, failed_at)
           VALUES ('/rapport/intake', 3, 7, 'x', 'e-7', now(), 'missing', now())"""
    )
    code, out, _ = ledger.run("verify")
    assert (code, "WRONG        /rapport/intake, partition 3: missing; it said 7 events up to e-7" in out) == (1, True), out


@pytest.mark.parametrize(
    "flipped", ["data = set_byte(data, 3, get_byte(data, 3) # 1)", "id = 'another'", "digest = sha256('x')"]
)
def test_a_changed_entry_is_named_and_exits_1(ledger: Ledger, flipped: str) -> None:
    first, mine = begun(), begun()
    ledger.record(first, mine)
    index = len(first.events) + 1
    ledger.sql(f"UPDATE entry SET {flipped} WHERE index = $1", index)
    row = ledger.sql("SELECT * FROM entry WHERE index = $1", index)[0]
    named = f"entry {index}: source {row['source']}, id {row['id']}, type {row['type']}"
    place = f"at {row['topic']}/{row['part']}/{row['position']}"
    code, out, _ = ledger.run("verify")
    assert (code, f"first bad    {named}, {place}" in out, out.splitlines()[-1]) == (1, True, "NOT GOOD"), out
    if "data" not in flipped:
        code, out, _ = ledger.run("verify", "--handoff", row["id"])
        assert (code, named in out) == (1, True), out


def test_what_a_reader_kept_must_be_continued(ledger: Ledger) -> None:
    ledger.record(begun())
    kept = ledger.folder / "kept"
    kept.write_text((ledger.outside / "checkpoint").read_text())
    ledger.record(begun())
    assert ledger.run("verify", "--since", str(kept))[0] == 0
    other = Checkpoint(SIGNER.name, 2, bytes(32))
    kept.write_text(sign_checkpoint(other, SIGNER))
    code, out, _ = ledger.run("verify", "--since", str(kept))
    assert (code, "since" in out) == (1, True), out


def test_what_nobody_can_prove_is_said_and_exits_2(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oversight.proving._SIGNED_WITHIN", 0.2)
    ledger.record(begun())
    late = begun()
    ledger.record(late, signed=False)
    (ledger.folder / "nothing").write_text("nothing")
    for words, said in (
        (["prove", "unheard-of"], "nothing in the ledger has the id"),
        (["prove", handoff_of(late)], "is not signed yet"),
        (["prove", late.events[0][0].id, "--at-size", "2"], "no checkpoint of 2 entries"),
        (["consistency", str(ledger.folder / "nothing")], "is no checkpoint of this ledger"),
        (["consistency", str(ledger.folder / "none")], "cannot be read"),
    ):
        code, out, err = ledger.run(*words)
        assert (code, out, said in err) == (2, "", True), err


def test_a_changed_entry_is_not_proved(ledger: Ledger) -> None:
    mine = begun()
    ledger.record(mine)
    ledger.sql("UPDATE entry SET type = replace(type, 'handoff-', 'handoff-x') WHERE type LIKE '%handoff-offered%'")
    code, out, err = ledger.run("prove", next(e.id for e, d in mine.events if "handoff-offered" in d.type))
    assert (code, out, "does not prove it" in err) == (1, "", True)


def test_a_ledger_that_was_rolled_back_does_not_continue_what_was_kept(ledger: Ledger) -> None:
    ledger.record(begun())
    ledger.record(begun())
    kept = ledger.folder / "kept"
    kept.write_text((ledger.outside / "checkpoint").read_text())
    ledger.sql("DELETE FROM checkpoint WHERE size = (SELECT max(size) FROM checkpoint)")
    code, out, err = ledger.run("consistency", str(kept))
    assert (code, out, "rolled back" in err) == (1, "", True)


def test_a_database_that_does_not_answer_is_no_verdict(ledger: Ledger) -> None:
    ledger.settings = ledger.settings.model_copy(
        update={"postgres_dsn": type(ledger.settings.postgres_dsn)("postgresql://nobody@127.0.0.1:1/none")}
    )
    code, _, err = ledger.run("prove", "anything")
    assert (code, "cannot be read" in err) == (2, True)


def test_over_http_the_newest_checkpoint_and_that_it_continues_an_older_one(ledger: Ledger) -> None:
    ledger.record(begun())
    old = open_checkpoint((ledger.outside / "checkpoint").read_text(), [SIGNER.verifier]).checkpoint
    ledger.record(begun())

    async def act(world: World) -> Any:
        async def fine() -> dict[str, str]:
            return {}

        api = http.new_app("test", fine, fine, world.service.meters)
        add_apis(api, world.service)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=api), base_url="http://oversight") as client:
            note = await client.get("/v1/ledger/checkpoint")
            path = await client.get("/v1/ledger/consistency", params={"old": old.size, "new": 2 * old.size})
            beyond = await client.get("/v1/ledger/consistency", params={"old": 1, "new": 1000})
        return note, path, beyond

    note, path, beyond = ledger.on(act)
    assert note.headers["content-type"].startswith("text/plain")
    new = open_checkpoint(note.text, [SIGNER.verifier]).checkpoint
    assert new.size == 2 * old.size
    verify_consistency(old.size, new.size, old.root, new.root, [b64decode(each) for each in path.json()["path"]])
    assert beyond.status_code == 404
