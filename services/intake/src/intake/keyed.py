"""Digests under intake's own key: identity has so few possible values that a plain digest would name it."""

import hmac
from hashlib import sha256

from contracts.referral import ReferralSubmitted


class Keys:
    """What only this service can compute."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()
        self.door = f"door:{self._digest(b'door')}"

    def content(self, referral: ReferralSubmitted) -> str:
        """Equal for equal referrals, whatever door they came through."""
        return self._digest(b"referral:" + referral.model_dump_json().encode())

    def name(self, body: bytes) -> str:
        """A stable identifier for a payload that brings none."""
        return self._digest(b"body:" + body)[:32]

    def came_by_door(self, actor: str | None) -> bool:
        """True for commands of our own doors, which alone can know the mark they put into the actor."""
        return hmac.compare_digest((actor or "").encode(), self.door.encode())

    def _digest(self, value: bytes) -> str:
        return hmac.new(self._secret, value, sha256).hexdigest()
