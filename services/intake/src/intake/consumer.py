"""Which event, command or due timer goes to which handler, and nothing else."""

from contracts import clinical, matching, referral
from intake import handlers
from intake.commands import DiscloseIdentity
from intake.domain.episode import Episode
from messaging.giver import ANSWER_DUE
from messaging.routes import Kept, Routes, due, on

_ANSWERED = (handlers.episode_of, handlers.episode_of_invalid)

ROUTES = Routes(
    Kept(
        "episode",
        Episode,
        on(referral.ReferralSubmitted, handlers.on_referral_submitted, *_ANSWERED),
        on(referral.ReferralWithdrawn, handlers.on_referral_withdrawn, *_ANSWERED),
        on(matching.HandoffAnswered, handlers.on_handoff_answered),
        on(clinical.HandoffAnswered, handlers.on_handoff_answered),
        on(DiscloseIdentity, handlers.on_identity_requested),
        due(ANSWER_DUE, handlers.on_handoff_overdue),
    )
)
