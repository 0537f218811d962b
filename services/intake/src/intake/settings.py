"""What intake is told from outside: INTAKE_* variables."""

from datetime import timedelta

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from intake.domain.urgency import Clocks
from messaging.settings import KitSettings, Seconds


class Settings(KitSettings):
    """The defaults' sources are named in `domain.urgency`."""

    model_config = SettingsConfigDict(env_prefix="INTAKE_")

    handoff_answer_within: Seconds = timedelta(days=1)
    crisis_answer_within: Seconds = timedelta(minutes=5)
    escalated_answer_within: Seconds = timedelta(hours=4)
    escalation_desks: tuple[str, ...] = Field(
        default=("duty-manager", "clinical-director"), min_length=1, description="asked in order; the last one again and again"
    )

    def clocks(self) -> Clocks:
        """The clocks as the domain knows them."""
        return Clocks(self.handoff_answer_within, self.crisis_answer_within, self.escalated_answer_within)
