"""What only our own doors ask of intake."""

from pydantic import Field

from contracts.vocabulary import Code
from messaging.decision import Command


class DiscloseIdentity(Command):
    """Somebody asks to see who the client is; answered by DisclosureMade, or refused."""

    type = "command:disclose-identity"

    recipient: str = Field(max_length=100, pattern=r"^[a-z][a-z0-9-]*(:[A-Za-z0-9._-]+)?$", description="class[:person]")
    purpose: Code = Field(description="what for, such as `treatment`")
