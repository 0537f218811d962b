"""What only our own doors ask of intake; these are never events on a topic."""

from pydantic import Field

from contracts.event import Event
from contracts.vocabulary import Code


class DiscloseIdentity(Event, type="care.rapport.intake.disclose-identity.v1"):
    """Somebody asks to see who the client is; answered by DisclosureMade, or refused."""

    recipient: str = Field(max_length=100, pattern=r"^[a-z][a-z0-9-]*(:[A-Za-z0-9._-]+)?$", description="class[:person]")
    purpose: Code = Field(description="what for, such as `treatment`")
