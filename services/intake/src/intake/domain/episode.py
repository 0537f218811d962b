"""What intake remembers of an episode: which referral opened it, what was consented to, the need, and who is accountable."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from intake.domain.consent import Consent
from messaging.handoff import Custody

DESK = "intake"


@dataclass(frozen=True, slots=True)
class Episode:
    """One client's journey as intake knows it; it holds nothing that names the client.

    `content` is a keyed digest of the referral: equal content is the same referral again, other content an amendment.
    `need` is in the codes of the vocabulary. `withdrawn` is the referrer's reason, when the referral was taken back.
    """

    assigner: str
    identifier: str
    content: str
    consent: Consent
    need: Mapping[str, Any]
    custody: Custody
    withdrawn: str | None = None

    @property
    def stage(self) -> str:
        """Where the episode stands for the referrer: `with-matching` is as far as intake sees."""
        if self.custody.custodian == DESK:
            return "with-intake"
        return "with-matching" if self.custody.custodian == "matching" else "with-desk"

    def under(self, custody: Custody) -> "Episode":
        return replace(self, custody=custody)
