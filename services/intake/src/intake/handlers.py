"""When something happens to a referral, a handoff or a request for identity: facts in, decision out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from contracts import clinical, handoff, intake
from contracts.event import Problem
from contracts.referral import ReferralSubmitted, ReferralWithdrawn
from contracts.topics import RESERVED
from contracts.vocabulary import Need, age_band, episode_id
from intake.commands import DiscloseIdentity
from intake.domain.consent import JOURNEY, Consent
from intake.domain.episode import DESK, Episode
from intake.domain.identity import KeepIdentity
from intake.domain.urgency import MATCHING, Asked, Clocks, asked_next, first_asked, other_desks
from messaging.decision import Decision, DueTimer, Early, Facts, Invalid, Outcome, Refused
from messaging.giver import Giver, Step
from messaging.handoff import Custody

Reason = Literal["no-consent-basis", "invalid", "amended", "deadline-in-the-past", "foreign-source", "withdrawn"]


@dataclass(frozen=True, slots=True)
class Context:
    """What this process was told at its start; `digest` is keyed, since identity is easily guessed from a plain one."""

    digest: Callable[[ReferralSubmitted], str]
    came_by_door: Callable[[str | None], bool]
    clocks: Clocks
    desks: tuple[str, ...]

    def after(self, effects: Sequence[Any]) -> "Context":
        """Nothing that intake decides on is competed for."""
        return self


@dataclass(frozen=True, slots=True)
class Objection:
    """Why a referral is not taken."""

    reason: Reason
    problems: tuple[Problem, ...]


def on_referral_submitted(
    event: ReferralSubmitted | Invalid, episode: Episode | None, facts: Facts[Context]
) -> Outcome[Episode]:
    """When a referral comes, its episode opens and is offered on, or the referrer learns why not."""
    objection = _to_sender(event, facts)
    if isinstance(event, Invalid):
        return _refused(event, objection or Objection("invalid", event.problems), facts)
    if objection:
        return _refused(event, objection, facts)
    if episode:
        return _come_again(event, episode, facts)
    objection = _to_referral(event, facts)
    return _refused(event, objection, facts) if objection else _opened(event, facts)


def on_referral_withdrawn(
    event: ReferralWithdrawn | Invalid, episode: Episode | None, facts: Facts[Context]
) -> Outcome[Episode]:
    """When a referrer takes a referral back, it is kept with the episode and moves nothing.

    The client decides whether the journey ends, and its custodian stays accountable until then.
    """
    objection = _to_sender(event, facts)
    if isinstance(event, Invalid):
        return _refused(event, objection or Objection("invalid", event.problems), facts)
    if objection:
        return _refused(event, objection, facts)
    if episode is None:
        # It must not wait: what it waits for may be the next thing that this sender says, and would wait behind it.
        return _refused(event, _objection("withdrawn", "/identifier", "unknown", "a referral that was taken"), facts)
    return Decision(replace(episode, withdrawn=event.reason), reply={"episode": facts.subject})


def on_handoff_answered(event: handoff.HandoffAnswered, episode: Episode | None, facts: Facts[Context]) -> Outcome[Episode]:
    """When a receiver answers, intake confirms it as the arbiter; people who accepted hand on, a decline goes to a desk."""
    if event.arbiter != DESK:
        return Decision()
    if episode is None:
        return Early()
    if isinstance(event, clinical.HandoffAnswered) and event.by == MATCHING:
        return Refused("not-a-desk", reply=_status(episode, facts))
    step = _giver(episode, facts).answered(episode.custody, event)
    if step.verdict == "superseded":
        return Refused("superseded", publish=step.publish, reply=_status(episode, facts))
    return _moved(episode, _followed(episode, step, facts), facts)


def on_handoff_overdue(timer: DueTimer, episode: Episode | None, facts: Facts[Context]) -> Decision[Episode]:
    """When nobody answered in time, the next named desk is asked."""
    if episode is None or episode.custody.standing is None or timer.due < episode.custody.standing.deadline:
        return Decision()
    cause = episode.custody.standing.id
    step = _giver(episode, facts).overdue(episode.custody, timer, cause, facts.now, _need(episode))
    return _moved(episode, step, facts)


def on_identity_requested(command: DiscloseIdentity, episode: Episode | None, facts: Facts[Context]) -> Outcome[Episode]:
    """When somebody asks who the client is, consent decides, and what is shown is on the record before it is shown."""
    if not facts.context.came_by_door(facts.cause.actor):
        return Refused("foreign-source")
    if episode is None:
        return Early()
    custodian, today = episode.custody.custodian, facts.now.date()
    if not episode.consent.lets_see_identity(command.recipient, command.purpose, custodian, today):
        return Refused("not-consented")
    made = intake.DisclosureMade(recipient=command.recipient, purpose=command.purpose, consent_basis=episode.consent.kind)
    return Decision(publish=[made], reply={"episode": facts.subject})


def episode_of(event: ReferralSubmitted | ReferralWithdrawn) -> str:
    """The subject of whatever a referrer says."""
    return episode_id(event.assigner, event.identifier)


def episode_of_invalid(broken: Invalid) -> str | None:
    """The subject of a broken payload, when it says whom to answer."""
    names = [broken.raw.get(name) for name in ("assigner", "identifier")]
    if all(isinstance(name, str) and 0 < len(name) <= 200 and name.isprintable() for name in names):
        return episode_id(str(names[0]), str(names[1]))
    return None


def _to_sender(event: ReferralSubmitted | ReferralWithdrawn | Invalid, facts: Facts[Context]) -> Objection | None:
    cause = facts.cause
    if cause.source.startswith(RESERVED) and not facts.context.came_by_door(cause.actor):
        return _objection("foreign-source", "ce_source", "reserved", f"a source that does not begin with {', '.join(RESERVED)}")
    identifier = event.raw["identifier"] if isinstance(event, Invalid) else event.identifier
    if cause.subject != identifier:
        problem = "different-from-identifier" if cause.subject else "missing"
        return _objection("invalid", "ce_subject", problem, "the identifier of the referral")
    return None


def _to_referral(event: ReferralSubmitted, facts: Facts[Context]) -> Objection | None:
    consent = _consent(event)
    if consent is None:
        return _objection("no-consent-basis", "/consent", "missing", "a consent basis")
    if not consent.holds(facts.now.date()):
        return _objection("no-consent-basis", "/consent/expires", "expired", "a day that is not over")
    if consent.withheld_from():
        return _objection("no-consent-basis", "/consent/recipients", "withheld", ", ".join(JOURNEY))
    if event.client.birth_date > facts.now.date():
        return _objection("invalid", "/client/birth_date", "in-the-future", "a day that has come")
    if event.respond_by and event.respond_by < facts.cause.time:
        return _objection("deadline-in-the-past", "/respond_by", "in-the-past", "an instant that has not passed")
    return None


def _objection(reason: Reason, path: str, problem: str, expected: str) -> Objection:
    return Objection(reason, (Problem(path=path, problem=problem, expected=expected),))


def _refused(event: ReferralSubmitted | ReferralWithdrawn | Invalid, objection: Objection, facts: Facts[Context]) -> Refused:
    raw = event.raw if isinstance(event, Invalid) else {"assigner": event.assigner, "identifier": event.identifier}
    said = intake.ReferralRefused(
        assigner=raw["assigner"], identifier=raw["identifier"], referral_source=facts.cause.source,
        referral_id=facts.cause.id, reason=objection.reason, problems=objection.problems,
    )  # fmt: skip
    reply = {"episode": facts.subject, "problems": [p.model_dump(exclude_none=True) for p in objection.problems]}
    return Refused(objection.reason, publish=[said], reply=reply)


def _come_again(event: ReferralSubmitted, episode: Episode, facts: Facts[Context]) -> Outcome[Episode]:
    if facts.context.digest(event) != episode.content:
        return _refused(event, _objection("amended", "/", "amended", "what was referred under this identifier before"), facts)
    return Decision(publish=[_accepted(event, facts, repeated=True)], reply={"episode": facts.subject, "repeated": True})


def _accepted(event: ReferralSubmitted, facts: Facts[Context], repeated: bool = False) -> intake.ReferralAccepted:
    return intake.ReferralAccepted(
        assigner=event.assigner, identifier=event.identifier, referral_source=facts.cause.source,
        referral_id=facts.cause.id, repeated=repeated,
    )  # fmt: skip


def _opened(event: ReferralSubmitted, facts: Facts[Context]) -> Decision[Episode]:
    need = Need(**event.need.model_dump(), age_band=age_band(event.client.birth_date, facts.now.date()))
    consent = _consent(event)
    if consent is None:
        raise ValueError("only a consented referral opens an episode")
    episode = Episode(
        event.assigner, event.identifier, facts.context.digest(event), consent, need.model_dump(mode="json"), Custody(DESK)
    )
    asked = first_asked(need.urgency, consent, facts.context.clocks, facts.now)
    step = _offered(episode, episode.custody, asked, f"{facts.cause.source}|{facts.cause.id}", facts)
    opened = intake.EpisodeOpened(need=need, consent_basis=consent.kind, custodian=DESK)
    return Decision(
        episode.under(step.custody),
        publish=[opened, _accepted(event, facts), *step.publish],
        timers=step.timers,
        effects=[KeepIdentity(facts.subject, **event.client.model_dump(), note=event.note)],
        reply={"episode": facts.subject, "repeated": False},
    )


def _consent(event: ReferralSubmitted) -> Consent | None:
    basis = event.consent
    return Consent(basis.kind, basis.recipients, basis.purposes, basis.expires) if basis else None


def _need(episode: Episode) -> Need:
    return Need.model_validate(episode.need)


def _giver(episode: Episode, facts: Facts[Context]) -> Giver:
    context, standing = facts.context, episode.custody.standing
    desks = other_desks(context.desks, episode.custody.custodian)
    return Giver("intake", intake, desks, context.clocks.escalated(standing.kind if standing else "matching"))


def _offered(episode: Episode, custody: Custody, asked: Asked, cause: str, facts: Facts[Context]) -> Step:
    return _giver(episode, facts).offer(
        custody, cause, asked.receiver, asked.kind, asked.deadline, episode.consent.kind, _need(episode)
    )


def _followed(episode: Episode, step: Step, facts: Facts[Context]) -> Step:
    """What goes with a confirmed answer into the same decision, so that nothing stands still in between."""
    answered = episode.custody.standing
    if answered and step.verdict == "declined":
        giver = _giver(episode, facts)
        return _then(step, giver.escalate(step.custody, answered, answered.id, facts.now, _need(episode)))
    if answered and step.verdict == "accepted":
        asked = asked_next(answered.receiver, facts.context.clocks, facts.now)
        return _then(step, _offered(episode, step.custody, asked, answered.id, facts)) if asked else step
    return step


def _then(step: Step, following: Step) -> Step:
    return Step(following.custody, [*step.publish, *following.publish], following.timers, verdict=step.verdict)


def _moved(episode: Episode, step: Step, facts: Facts[Context]) -> Decision[Episode]:
    moved = episode.under(step.custody)
    cancel = [] if step.timers else step.cancel
    return Decision(moved, publish=step.publish, timers=step.timers, cancel=cancel, reply=_status(moved, facts))


def _status(episode: Episode, facts: Facts[Context]) -> dict[str, Any]:
    return {"episode": facts.subject, "custodian": episode.custody.custodian}
