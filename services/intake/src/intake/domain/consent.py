"""On what basis a need may be passed on and an identity shown; revocation and categories come with later work."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

JOURNEY = ("matching", "followup")
"""Who must receive the need, because without them there is no journey; a basis that leaves one out opens no episode."""
CRISIS_DESK = "crisis-desk"


@dataclass(frozen=True, slots=True)
class Consent:
    """What the client, or the law in the client's stead, allows; `expires` is the last day on which it holds."""

    kind: str
    recipients: tuple[str, ...]
    purposes: tuple[str, ...]
    expires: date | None = None

    def holds(self, on: date) -> bool:
        return self.expires is None or on <= self.expires

    def withheld_from(self, recipients: Iterable[str] = JOURNEY) -> tuple[str, ...]:
        """Those of the recipients who may not receive the need."""
        return tuple(recipient for recipient in recipients if recipient not in self.recipients)

    def reaches_crisis_desk(self) -> bool:
        """An emergency is itself a basis for telling those who answer it (45 CFR 164.512(j), 42 CFR 2.51)."""
        return self.kind == "emergency" or CRISIS_DESK in self.recipients

    def lets_see_identity(self, recipient: str, purpose: str, custodian: str, on: date) -> bool:
        """Identity is for consented recipients and whoever is accountable now, for a consented purpose, while the basis holds.

        A recipient may name a person after its class, as in `therapist:t-17`.
        """
        known = recipient.split(":", 1)[0] in self.recipients or recipient == custodian
        return known and purpose in self.purposes and self.holds(on)
