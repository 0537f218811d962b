"""What oversight is told from outside: OVERSIGHT_* variables."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from messaging.settings import KitSettings


class Settings(KitSettings):
    """It only records, so its batches are larger than those of services that decide."""

    model_config = SettingsConfigDict(env_prefix="OVERSIGHT_")

    max_batch: int = Field(default=2000, ge=1, le=5000, description="records written down together")
