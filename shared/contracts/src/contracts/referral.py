"""What integrators say on `referrals.inbound.v1`, the one topic with identity; only intake reads it."""

from datetime import date
from typing import Literal

from pydantic import Field

from contracts.event import Event, Part
from contracts.vocabulary import PRINTABLE, Code, Id, Instant, Wanted

Recipient = Literal["crisis-desk", "matching", "followup", "therapist"]
# Any text that a database stores: no control characters but tab and line ends.
_TEXT = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"
_RECIPIENTS: tuple[Recipient, ...] = ("crisis-desk", "matching", "followup", "therapist")


class ClientIdentity(Part):
    """Who the client is; kept in intake's identity store and nowhere else."""

    record_number: Id = Field(description="the referrer's record number of the client")
    family_name: Id = Field(description="family name")
    given_name: Id = Field(description="given name")
    birth_date: date = Field(ge=date(1880, 1, 1), description="date of birth; only the age band leaves the identity store")
    phone: str | None = Field(default=None, max_length=50, pattern=PRINTABLE, description="phone number")
    email: str | None = Field(default=None, max_length=200, pattern=PRINTABLE, description="e-mail address")
    address: str | None = Field(default=None, max_length=500, pattern=_TEXT, description="postal address")


class ConsentBasis(Part):
    """On what basis the referrer may tell us, and we may tell the people who help."""

    kind: Literal["written-consent", "verbal-consent", "treatment", "emergency"] = Field(description="kind of basis")
    recipients: tuple[Recipient, ...] = Field(default=_RECIPIENTS, max_length=20, description="who may receive the need")
    purposes: tuple[Code, ...] = Field(
        default=("treatment",), max_length=20, description="purposes for which identity may be shown"
    )
    expires: date | None = Field(default=None, description="the last day on which the basis holds")


class RequestedNeed(Wanted):
    """The need as the referrer states it; the age band is derived from the birth date."""


class ReferralSubmitted(Event, type="care.rapport.referral.submitted.v1"):
    """Somebody outside asks that a client be helped; subject = the referrer's identifier."""

    assigner: Id = Field(description="system or organisation that issued the identifier")
    identifier: Id = Field(description="the referrer's identifier of this referral")
    client: ClientIdentity = Field(description="who the client is")
    need: RequestedNeed = Field(description="what the client needs")
    consent: ConsentBasis | None = Field(default=None, description="without a basis the referral is refused")
    respond_by: Instant | None = Field(default=None, description="the referrer expects an answer by then")
    note: str | None = Field(
        default=None, max_length=20_000, pattern=_TEXT, description="free text; stays in the identity store"
    )


class ReferralWithdrawn(Event, type="care.rapport.referral.withdrawn.v1"):
    """The referrer takes the referral back."""

    assigner: Id = Field(description="system or organisation that issued the identifier")
    identifier: Id = Field(description="the referrer's identifier of the referral")
    reason: Code = Field(default="unspecified", description="code of the reason")
