"""What matching is told from outside: MATCHING_* variables."""

from datetime import timedelta

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from matching.domain.match import Terms
from messaging.settings import KitSettings, Seconds


class Settings(KitSettings):
    """How long everybody has is our own judgement: no standard sets these limits."""

    model_config = SettingsConfigDict(env_prefix="MATCHING_")

    offer_answer_within: Seconds = Field(default=timedelta(days=2), description="a therapist answers an offer")
    handoff_answer_within: Seconds = Field(default=timedelta(days=1), description="followup answers a handoff")
    escalated_answer_within: Seconds = Field(default=timedelta(hours=4), description="a desk answers an escalated handoff")
    waiting_retry_every: Seconds = Field(default=timedelta(minutes=10), description="a waiting client's own look for a place")
    escalation_desks: tuple[str, ...] = Field(default=("matching-desk",), min_length=1, description="asked in this order")

    def terms(self) -> Terms:
        """The terms as the domain knows them."""
        return Terms(
            self.offer_answer_within, self.handoff_answer_within, self.escalated_answer_within, self.waiting_retry_every,
            self.escalation_desks,
        )  # fmt: skip
