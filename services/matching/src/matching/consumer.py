"""Which event or due timer goes to which handler, and nothing else."""

from contracts import clinical, followup, intake
from contracts.therapist import TherapistListed
from matching import handlers
from matching.domain.listing import Listing
from matching.domain.match import Match
from messaging.giver import ANSWER_DUE
from messaging.routes import Kept, Routes, due, on

ROUTES = Routes(
    Kept(
        "match",
        Match,
        on(intake.HandoffOffered, handlers.on_handoff_offered),
        on(intake.HandoffSuperseded, handlers.on_handoff_superseded),
        on(clinical.ChoiceMade, handlers.on_choice_made),
        on(clinical.OfferAnswered, handlers.on_offer_answered),
        on(followup.HandoffAnswered, handlers.on_handoff_answered),
        on(clinical.HandoffAnswered, handlers.on_handoff_answered),
        due(handlers.OFFER_EXPIRES, handlers.on_offer_expired),
        due(handlers.WAITING_RETRY, handlers.on_waiting_retry),
        due(ANSWER_DUE, handlers.on_handoff_overdue),
    ),
    Kept("therapist", Listing, on(TherapistListed, handlers.on_therapist_listed)),
)
