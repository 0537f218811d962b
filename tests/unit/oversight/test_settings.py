"""A signing key that cannot be read stops oversight at its start, and is not quoted."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from ledger.notes import generate
from oversight.settings import Settings

NEEDED = {"postgres_dsn": "postgresql://", "kafka_bootstrap": "localhost:1", "secret_key": "k" * 16}


def test_keys_come_from_the_environment_or_a_file_the_first_one_is_the_log_s(tmp_path: Path) -> None:
    first, second = generate("log"), generate("log.next")
    text = f"{first.private_text()}\n{second.private_text()}\n"
    (tmp_path / "keys").write_text(text)
    assert Settings(**NEEDED, signing_key=text).signers == [first, second]  # type: ignore[arg-type]
    assert Settings(**NEEDED, signing_key_file=tmp_path / "keys").signers == [first, second]  # type: ignore[arg-type]
    assert Settings(**NEEDED).signers == []  # type: ignore[arg-type]


def test_a_broken_key_is_named_and_not_shown() -> None:
    broken = generate("log").private_text()[:-4]
    with pytest.raises(ValidationError) as found:
        Settings(**NEEDED, signing_key=broken)  # type: ignore[arg-type]
    assert "SIGNING_KEY" in str(found.value.errors()[0]["msg"])
    assert broken not in str(found.value.errors()[0]["msg"])


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="nowhere"):
        Settings(**NEEDED, signing_key_file=tmp_path / "nowhere")  # type: ignore[arg-type]
