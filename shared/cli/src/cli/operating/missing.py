"""What a service misses: it is asked over HTTP, never its tables."""

from dataclasses import dataclass, field
from typing import Any

import httpx

from cli.stack import ProcessStatus


@dataclass(frozen=True)
class Missing:
    """Gaps of one process's service; of oversight also which claims of sources hold on its record, and which do not."""

    gaps: list[dict[str, Any]] = field(default_factory=list)
    accounted: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)


def ask(row: ProcessStatus) -> Missing:
    """Nothing for a process that does not answer; replicas say the same, so only the first is asked."""
    if not row.running or not (row.address or "").startswith("http") or row.name[-1].isdigit():
        return Missing()
    gaps = _get(f"{row.address}/v1/gaps") or []
    seen = (_get(f"{row.address}/v1/reconciliation") if row.name.startswith("oversight") else None) or {}
    return Missing(gaps, seen.get("sources", []), seen.get("failed", []))


def _get(url: str) -> Any:
    try:
        answer = httpx.get(url, timeout=3)
        return answer.json() if answer.status_code == httpx.codes.OK else None
    except (httpx.HTTPError, ValueError):
        return None
