"""What oversight is told from outside: OVERSIGHT_* variables."""

from datetime import timedelta
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from messaging.settings import KitSettings, Seconds


class Settings(KitSettings):
    """It only records, so its batches are larger than those of services that decide."""

    model_config = SettingsConfigDict(env_prefix="OVERSIGHT_")

    max_batch: int = Field(default=2000, ge=1, le=5000, description="records written down together")
    retention_dsn: SecretStr | None = Field(default=None, description="DSN of the role that erases, for `ledger erase` only")
    retention: Seconds = Field(
        default=timedelta(days=2192), description="bodies are kept so long at least: six years (45 CFR 164.316(b)(2)(i))"
    )
    signing_key: SecretStr | None = Field(
        default=None, description="private keys that sign checkpoints, one per line; the first one's name is the log's origin"
    )
    signing_key_file: Path | None = Field(
        default=None, description="a file with them instead; `rapport ledger keygen` makes one"
    )
    checkpoint_dir: Path | None = Field(default=None, description="folder for checkpoint and tiles, kept by somebody else")

    @property
    def signing_keys(self) -> list[str]:
        """The keys in their text form, none when nothing is to be signed; OSError when the file cannot be read."""
        text = self.signing_key_file.read_text() if self.signing_key_file else ""
        text = self.signing_key.get_secret_value() if self.signing_key else text
        return [line for line in text.split("\n") if line]
