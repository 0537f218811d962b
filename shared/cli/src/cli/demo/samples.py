"""Sends a folder of FHIR files to intake's FHIR door, each as its kind asks, and keeps every answer."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from cli.demo.tally import Sent


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of one file: the door tried, the status, each issue with its path, and the referrals acknowledged."""

    name: str
    door: str
    status: int
    issues: tuple[str, ...]
    sent: tuple[Sent, ...]


async def refer_files(folder: Path, intake_url: str) -> list[FileResult]:
    """One request per JSON file below the folder, in order of their names."""
    async with httpx.AsyncClient(base_url=intake_url, timeout=30) as http:
        return [await _refer(http, path, folder) for path in sorted(folder.rglob("*.json"))]


async def _refer(http: httpx.AsyncClient, path: Path, folder: Path) -> FileResult:
    resource = json.loads(path.read_text(encoding="utf-8"))
    door, body = _door(resource, path)
    key = f"file-{path.relative_to(folder)}"
    answer = await http.post(door, json=body, headers={"Idempotency-Key": key})
    ok = answer.status_code < httpx.codes.BAD_REQUEST
    return FileResult(
        str(path.relative_to(folder)), door, answer.status_code, tuple(_issues(answer.json())),
        (("/rapport/intake/fhir", key),) if ok else (),
    )  # fmt: skip


def _door(resource: Any, path: Path) -> tuple[str, Any]:
    """A message goes to $process-message, another Bundle to the root; a ServiceRequest goes with its Patient from beside it."""
    kind = resource.get("resourceType")
    if kind == "ServiceRequest":
        return "/fhir", _with_patient(resource, path)
    if kind != "Bundle":
        return "/fhir/ServiceRequest", resource
    return ("/fhir/$process-message" if resource.get("type") == "message" else "/fhir"), resource


def _with_patient(request: Any, path: Path) -> Any:
    wanted = request.get("subject", {}).get("reference", "").rpartition("/")[2]
    found = [r for p in sorted(path.parent.glob("*.json")) if (r := json.loads(p.read_text())).get("resourceType") == "Patient"]
    patients = [p for p in found if p.get("id") == wanted]
    resources = [request, *patients]
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {
                "fullUrl": f"http://sample.invalid/{r['resourceType']}/{r.get('id')}",
                "resource": r,
                "request": {"method": "POST", "url": r["resourceType"]},
            }
            for r in resources
        ],
    }


def _issues(answer: Any) -> list[str]:
    found = answer.get("issue", []) if isinstance(answer, dict) else []
    return [f"{', '.join(i.get('expression', ['?']))}: {i.get('diagnostics') or i.get('code')}" for i in found]
