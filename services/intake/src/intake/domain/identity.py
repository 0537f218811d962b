"""What the identity store keeps of a client; the one value of this service that names somebody."""

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class KeepIdentity:
    """An effect: the identity and the free text of an accepted referral go into the identity store, once per episode."""

    episode: str
    record_number: str
    family_name: str
    given_name: str
    birth_date: date
    phone: str | None = None
    email: str | None = None
    address: str | None = None
    note: str | None = None
