"""What oversight is told from outside: OVERSIGHT_* variables."""

from datetime import timedelta
from pathlib import Path

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from ledger.notes import NoteError, Signer
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

    @model_validator(mode="after")
    def _keys_can_be_read(self) -> "Settings":
        """What is wrong with a key is said without quoting it."""
        try:
            _ = self.signers
        except (OSError, NoteError) as error:
            raise ValueError(f"SIGNING_KEY: {error}") from None
        return self

    @property
    def signers(self) -> list[Signer]:
        """None when nothing is to be signed."""
        text = self.signing_key_file.read_text() if self.signing_key_file else ""
        text = self.signing_key.get_secret_value() if self.signing_key else text
        return [Signer.parse(line) for line in text.split()]
