"""What followup is told from outside: FOLLOWUP_* variables."""

from datetime import timedelta

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from followup.domain.clocks import Clocks
from messaging.settings import KitSettings, Seconds


class Settings(KitSettings):
    """Defaults follow the criteria named in `domain.clocks`."""

    model_config = SettingsConfigDict(env_prefix="FOLLOWUP_")

    first_session_emergency_within: Seconds = timedelta(hours=24)
    first_session_urgent_business_days: int = Field(default=1, ge=0)
    first_session_routine_business_days: int = Field(default=10, ge=0)
    silence_limit: Seconds = timedelta(days=14)
    business_zone: str = "UTC"

    def clocks(self) -> Clocks:
        """The clocks as the domain knows them."""
        return Clocks(
            self.first_session_emergency_within, self.first_session_urgent_business_days,
            self.first_session_routine_business_days, self.silence_limit, self.business_zone,
        )  # fmt: skip
