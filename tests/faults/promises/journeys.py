"""Each acknowledged referral has one episode and stands somewhere; each open episode is in exactly one pair of hands."""

from collections import Counter, defaultdict

from tests.faults.history import Claim, History, Said, Told
from tests.faults.verdict import Checked

from contracts import followup, intake, matching
from contracts.custody_check import check as check_custody
from contracts.custody_check import is_open
from contracts.vocabulary import episode_id


def ended(history: History, told: Told) -> Checked:
    """Answered, opened once, and in follow-up, waiting or refused."""
    checked = Checked("each referral ends")
    answers: dict[Claim, Said] = {}
    for one in history.all(intake.ReferralAccepted, intake.ReferralRefused):
        answers.setdefault((one.event.referral_source, one.event.referral_id), one)
    opened = Counter(one.subject for one in history.all(intake.EpisodeOpened))
    standing = _standing(history)
    for claim in sorted(told.acknowledged):
        checked.items += 1
        sent = history.places.get(claim)
        answer = answers.get(claim)
        if answer is None:
            checked.broken(f"the referral {claim} was acknowledged and never answered", [sent] if sent else [])
        elif isinstance(answer.event, intake.ReferralAccepted):
            _judge(checked, claim, answer, opened, standing)
    return checked


def _judge(checked: Checked, claim: Claim, answer: Said, opened: Counter[str], standing: dict[str, list[Said]]) -> None:
    accepted = answer.event
    assert isinstance(accepted, intake.ReferralAccepted)
    if answer.subject != episode_id(accepted.assigner, accepted.identifier) or opened[answer.subject] != 1:
        checked.broken(f"the referral {claim} has {opened[answer.subject]} episodes", [answer])
    last = standing.get(answer.subject, [])
    if not last or isinstance(last[-1].event, followup.PlanStoodDown | matching.WaitingEnded):
        checked.broken(f"the client of {claim} is neither in follow-up nor waiting", [answer, *last[-1:]])


def _standing(history: History) -> dict[str, list[Said]]:
    """What says where a client stands, each service's in its order, followup's last."""
    found: dict[str, list[Said]] = defaultdict(list)
    for kinds in ((matching.WaitingStarted, matching.WaitingEnded), (followup.PlanActivated, followup.PlanStoodDown)):
        for one in sorted(history.all(*kinds), key=lambda one: one.envelope.sequence or 0):
            found[one.subject].append(one)
    for said in found.values():
        if len(said) > 1 and isinstance(said[-1].event, followup.PlanStoodDown) and _waits(said):
            said.append(next(one for one in reversed(said) if isinstance(one.event, matching.WaitingStarted)))
    return found


def _waits(said: list[Said]) -> bool:
    waiting = [one for one in said if isinstance(one.event, matching.WaitingStarted | matching.WaitingEnded)]
    return bool(waiting) and isinstance(waiting[-1].event, matching.WaitingStarted)


def custody(history: History, told: Told) -> Checked:
    """`rapport custody check` on the whole history, with nothing excused."""
    checked = Checked("exactly one custodian")
    episodes = {subject: said for subject, said in history.episodes().items() if is_open(said)}
    checked.items = len(episodes)
    for finding in check_custody(episodes, told.as_of):
        checked.broken(str(finding))
    return checked
