"""Oversight's HTTP edge for whoever watches the ledger: the newest checkpoint, and that it continues an older one."""

from base64 import b64encode
from typing import Annotated, Any

from fastapi import FastAPI, Query
from fastapi.responses import PlainTextResponse

from ledger.proofs import ProofError
from messaging.http import ProblemError
from messaging.service import Service
from oversight import proving, proving_store

Size = Annotated[int, Query(ge=0, lt=2**63, description="entries under a checkpoint")]


def add_ledger_api(app: FastAPI, service: Service) -> None:
    """Adds the routes of the ledger; nothing of a body is shown, so no reading is recorded."""

    @app.get("/v1/ledger/checkpoint", response_class=PlainTextResponse)
    async def read_checkpoint() -> str:
        """The newest checkpoint as it was signed (C2SP tlog-checkpoint)."""
        note = await proving_store.note(service.pool)
        if note is None:
            raise ProblemError(404, "nothing is signed yet")
        return note

    @app.get("/v1/ledger/consistency")
    async def read_consistency(old: Size, new: Size) -> dict[str, Any]:
        """The hashes, in base64, of the proof that the tree of `old` entries begins that of `new` (RFC 9162 2.1.4)."""
        newest = await proving_store.note(service.pool)
        if newest is None or not old <= new <= proving.checkpoint_of(newest).size:
            raise ProblemError(404, "there are no such trees: old is at most new, and new at most what is signed")
        try:
            path = await proving.consistency_path(service.pool, old, new)
        except ProofError:
            raise ProblemError(409, "the ledger is not whole, and cannot prove this", reason="ledger-wrong") from None
        return {"old": old, "new": new, "path": [b64encode(each).decode() for each in path]}
