"""Every event there is: importing this module fills the registry."""

from contracts import clinical, followup, intake, matching, oversight, parked, referral, therapist
from contracts.event import REGISTRY

OWNERS = (referral, therapist, clinical, intake, matching, followup, oversight, parked)
TYPES = frozenset(REGISTRY)
