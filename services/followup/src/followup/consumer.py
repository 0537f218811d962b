"""Which event or due timer goes to which handler, and nothing else."""

from contracts import clinical, matching
from followup import handlers, handoffs
from followup.domain.plan import Plan
from messaging.routes import Kept, Routes, due, on

ROUTES = Routes(
    Kept(
        "plan",
        Plan,
        on(matching.HandoffOffered, handoffs.on_handoff_offered),
        on(matching.HandoffSuperseded, handoffs.on_handoff_superseded),
        on(clinical.SessionRecorded, handlers.on_session_recorded),
        on(clinical.AllianceChecked, handlers.on_alliance_checked),
        due(handlers.FIRST_SESSION, handlers.on_first_session_overdue),
        due(handlers.SILENCE, handlers.on_silence),
    )
)
