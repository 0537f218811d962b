"""Every SQL statement of intake's own; its episodes are kept by the kit, as rows of kind `episode`."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter

from intake.domain.episode import Episode

# The episodes of some subjects, for who asks and for a FHIR transaction that must know before it begins.
EPISODES = "SELECT subject, body FROM messaging.state WHERE kind = 'episode' AND subject = ANY ($1) AND body IS NOT NULL"

# Who the client is; read only after the DisclosureMade that allows it is committed.
IDENTITY = """
SELECT record_number, family_name, given_name, birth_date, phone, email, address FROM identity WHERE episode = $1
"""

_EPISODE = TypeAdapter(Episode)


async def episodes(pool: Any, subjects: Sequence[str]) -> Mapping[str, Episode]:
    """The episodes that are known, by subject."""
    found = await pool.fetch(EPISODES, list(subjects))
    return {row["subject"]: _EPISODE.validate_json(row["body"]) for row in found}


async def identity(pool: Any, episode: str) -> dict[str, Any] | None:
    """The identity of an episode's client; the caller has committed the disclosure."""
    row = await pool.fetchrow(IDENTITY, episode)
    return None if row is None else json.loads(json.dumps(dict(row), default=str))
