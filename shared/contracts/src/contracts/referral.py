"""What integrators say on `referrals.inbound.v1`, the one topic with identity; only intake reads it."""

from datetime import date, datetime
from typing import Literal

from pydantic import Field

from contracts.event import Event, Part
from contracts.vocabulary import LevelOfCare, Modality, Preferences, ProblemArea, Urgency

TEXT = Field(min_length=1, max_length=200)


class ClientIdentity(Part):
    """Who the client is; kept in intake's identity store and nowhere else."""

    record_number: str = Field(min_length=1, max_length=100, description="the referrer's record number of the client")
    family_name: str = TEXT
    given_name: str = TEXT
    birth_date: date
    phone: str | None = Field(default=None, max_length=50)
    email: str | None = Field(default=None, max_length=200)
    address: str | None = Field(default=None, max_length=500)


class ConsentBasis(Part):
    """On what basis the referrer may tell us, and we may tell the people who help."""

    kind: Literal["written-consent", "verbal-consent", "treatment", "emergency"]
    recipients: tuple[Literal["crisis-desk", "matching", "followup", "therapist"], ...] = Field(
        default=("crisis-desk", "matching", "followup", "therapist"), description="who may receive the need"
    )
    purposes: tuple[str, ...] = Field(default=("treatment",), description="purposes for which identity may be shown")
    expires: date | None = None


class RequestedNeed(Part):
    """The need as the referrer states it; the age band is derived from the birth date."""

    problem_area: ProblemArea
    level_of_care: LevelOfCare = "outpatient"
    language: str = Field(default="en", pattern=r"^[a-z]{2,3}$", description="ISO 639 code")
    place: str = Field(default="unspecified", max_length=40, pattern=r"^[A-Za-z0-9-]+$", description="region or state code")
    modality: Modality = "any"
    payer: str = Field(default="self-pay", max_length=40, pattern=r"^[a-z0-9-]+$")
    urgency: Urgency = "routine"
    preferences: Preferences = Preferences()


class ReferralSubmitted(Event, type="care.rapport.referral.submitted.v1"):
    """Somebody outside asks that a client be helped; subject = the referrer's identifier."""

    assigner: str = Field(min_length=1, max_length=200, description="system or organisation that issued the identifier")
    identifier: str = Field(min_length=1, max_length=200, description="the referrer's identifier of this referral")
    client: ClientIdentity
    need: RequestedNeed
    consent: ConsentBasis | None = Field(default=None, description="without a basis the referral is refused")
    respond_by: datetime | None = Field(default=None, description="the referrer expects an answer by then")
    note: str | None = Field(default=None, max_length=20_000, description="free text; kept in the identity store")


class ReferralWithdrawn(Event, type="care.rapport.referral.withdrawn.v1"):
    """The referrer takes the referral back."""

    assigner: str = Field(min_length=1, max_length=200)
    identifier: str = Field(min_length=1, max_length=200)
    reason: str = Field(default="unspecified", max_length=60, pattern=r"^[a-z0-9-]+$")
