"""What a run does is the same for the same seed, and breaks as much as its form says."""

from collections import Counter
from itertools import pairwise

import pytest
from tests.faults.forms import CI, LONG, SMOKE, Form, of_minutes
from tests.faults.schedule import REPLICAS, Fault, plan

from cli.stack.names import ROLES, SERVICES, ProcessName, processes

FORMS = [CI, SMOKE, LONG, of_minutes(3)]
SEEDS = range(5)


def of(faults: list[Fault], kind: str) -> list[Fault]:
    return [fault for fault in faults if fault.kind == kind]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_the_same_seed_does_the_same(form: Form) -> None:
    assert plan(form, 7) == plan(form, 7) != plan(form, 8)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_form_does_what_it_says(form: Form, seed: int) -> None:
    done = Counter(fault.kind for fault in plan(form, seed))
    assert (done["kill"], done["freeze"], done["join"]) == (form.kills, form.freezes, form.joins)
    assert (done["broker"], done["postgres"]) == (len(form.outages), len(form.restarts))
    assert (done["terminate"], done["poison"]) == (form.terminations, form.poisons)
    assert done["burst"] >= form.bursts


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_happens_twice_to_one_target_at_once(form: Form, seed: int) -> None:
    faults = plan(form, seed)
    servers = {"kafka": of(faults, "broker"), "postgres": of(faults, "postgres")}
    for name in processes(REPLICAS, form.roles):
        servers[name] = [fault for fault in [*of(faults, "kill"), *of(faults, "freeze")] if fault.target == name]
    for name, done in servers.items():
        assert all(before.over < after.at for before, after in pairwise(sorted(done))), name


def test_the_ci_form_is_the_one_that_was_asked_for() -> None:
    faults = plan(CI, 1)
    assert len(of(faults, "kill")) + len(of(faults, "freeze")) >= 20
    assert all(5 <= freeze.lasts <= 12 for freeze in of(faults, "freeze"))
    assert [outage.lasts > 40 for outage in of(faults, "broker")] == [False, True]
    assert len(of(faults, "postgres")) == 2
    assert CI.seconds + CI.settle_within <= 240


def test_the_long_form_kills_every_role_of_every_service() -> None:
    faults = plan(LONG, 1)
    killed = {(name.service, name.role) for name in (ProcessName.of(fault.target) for fault in of(faults, "kill"))}
    assert killed == {(service, role) for service in SERVICES for role in ROLES}
    assert (len(of(faults, "kill")), len(of(faults, "broker")), len(of(faults, "postgres"))) == (200, 50, 50)
    assert max(freeze.lasts for freeze in of(faults, "freeze")) > 55


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("form", [CI, SMOKE, of_minutes(3)], ids=lambda form: form.name)
def test_who_cannot_write_dies_while_the_database_is_away(form: Form, seed: int) -> None:
    faults = plan(form, seed)
    longest = max(of(faults, "postgres"), key=lambda fault: fault.lasts)
    died = {kill.target for kill in of(faults, "kill") if longest.at < kill.at < longest.over}
    assert died >= {"intake", "intake-2"}
    silent = {freeze.target for freeze in of(faults, "freeze") if freeze.at <= longest.at - 3 and freeze.over > longest.at}
    assert silent >= {"matching", "matching-2"} or form is SMOKE


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("form", [CI, LONG, of_minutes(3)], ids=lambda form: form.name)
def test_who_cannot_send_dies_while_the_broker_is_away(form: Form, seed: int) -> None:
    faults = plan(form, seed)
    died = [
        {kill.target for kill in of(faults, "kill") if outage.at + 1 < kill.at < outage.over}
        for outage in of(faults, "broker") if outage.lasts < 40
    ]  # fmt: skip
    senders = {name for name in processes(REPLICAS, form.roles) if name.startswith("intake") and ProcessName.of(name).relays}
    assert any(senders <= names for names in died)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("form", [CI, LONG, of_minutes(3)], ids=lambda form: form.name)
def test_who_reads_for_matching_freezes_past_the_deadline_of_offers(form: Form, seed: int) -> None:
    faults = plan(form, seed)
    servers = [*of(faults, "broker"), *of(faults, "postgres")]
    frozen = [freeze for freeze in of(faults, "freeze") if freeze.target.startswith("matching") and freeze.lasts >= 9]
    calm = [freeze for freeze in frozen if all(s.over < freeze.at or freeze.over < s.at for s in servers)]
    assert any(freeze.at - 1.5 < burst.at < freeze.at for burst in of(faults, "burst") for freeze in calm)


@pytest.mark.parametrize("form", [CI, LONG, of_minutes(3)], ids=lambda form: form.name)
@pytest.mark.parametrize("seed", SEEDS)
def test_who_sends_into_the_last_outage_lives_on(form: Form, seed: int) -> None:
    faults = plan(form, seed)
    last = of(faults, "broker")[-1]
    late = [kill.target for kill in of(faults, "kill") if kill.at > last.at]
    assert last.lasts == max(form.outages)
    assert not [target for target in late if target.startswith(("intake", "matching"))]


def test_a_process_is_named_by_service_role_and_replica() -> None:
    assert processes(2, ("run",))[:4] == ["intake", "intake-2", "matching", "matching-2"]
    assert "followup-relay-2" in processes(2, ROLES)
    assert ProcessName.of("oversight-timers-3") == ProcessName("oversight", "timers")
    assert [ProcessName.of(name).serves for name in ("intake", "intake-serve-2", "intake-relay")] == [True, True, False]
