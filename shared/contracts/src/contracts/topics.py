"""Topic names and who may write them; partition counts and retention are in deploy/kafka/topics.yaml."""

PARTITIONS = 12

REFERRALS = "referrals.inbound.v1"
THERAPISTS = "therapists.inbound.v1"
CLINICAL = "clinical.inbound.v1"
INTAKE = "intake.events.v1"
MATCHING = "matching.events.v1"
FOLLOWUP = "followup.events.v1"
OVERSIGHT = "oversight.events.v1"
CHECKPOINTS = "oversight.checkpoints.v1"

INBOUND = (REFERRALS, THERAPISTS, CLINICAL)
OWNED = {
    INTAKE: "/rapport/intake",
    MATCHING: "/rapport/matching",
    FOLLOWUP: "/rapport/followup",
    OVERSIGHT: "/rapport/oversight",
}
# How sources begin that nobody outside may take: ours, and what stands for a place or a taken name where events are claimed.
RESERVED = ("/rapport/", "kafka:", "spoofed:")


def parked_topic(service: str) -> str:
    """Where a service announces what it parked: ids, reason and offset only."""
    return f"{service}.parked.v1"


_PREFIXES = {
    "care.rapport.referral.": REFERRALS,
    "care.rapport.therapist.": THERAPISTS,
    "care.rapport.clinical.": CLINICAL,
    **{f"care{source.replace('/', '.')}.": topic for topic, source in OWNED.items()},
}


def topic_of(event_type: str) -> str:
    """The one topic on which events of this type are found; raises KeyError for a type that is not ours."""
    owner = ".".join(event_type.split(".")[:3]) + "."
    return _PREFIXES[owner]
