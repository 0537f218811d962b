"""What a stack's ledger is signed with, and the folder that stands for another trust domain; both lie in the home."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ledger.notes import Signer, generate

ORIGIN = "rapport.local/ledger"


@dataclass(frozen=True)
class Ledger:
    """The key is made when it is first asked for, and kept with the stack."""

    home: Path

    @property
    def outside(self) -> Path:
        """Where checkpoint and tiles lie."""
        return self.home / "ledger" / "outside"

    @property
    def private_key(self) -> Path:
        """Nobody else can read it."""
        return self.home / "ledger" / "signing.key"

    @property
    def public_key(self) -> Path:
        """What everybody may know, to check with."""
        return self.home / "ledger" / "public.key"

    def settings(self) -> dict[str, str]:
        """What oversight is told about it."""
        if not self.private_key.exists():
            self._make_key()
        if not self.public_key.exists():
            self.public_key.write_text(f"{Signer.parse(self.private_key.read_text().strip()).verifier}\n")
        return {"SIGNING_KEY_FILE": str(self.private_key), "CHECKPOINT_DIR": str(self.outside)}

    def _make_key(self) -> None:
        """Who comes second takes the key of who came first."""
        draft = self.private_key.with_suffix(f".{os.getpid()}")
        draft.parent.mkdir(parents=True, exist_ok=True)
        draft.touch(mode=0o600)
        draft.write_text(f"{generate(ORIGIN).private_text()}\n")
        with suppress(FileExistsError):
            self.private_key.hardlink_to(draft)
        draft.unlink()
