"""The ServiceRequests of one FHIR request on their way through the door: all or nothing, or each by itself."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence

from intake.doors import Doors, problems_in
from intake.fhir.document import Document, Located
from intake.fhir.issues import FhirRefused, Issue, Kind
from intake.fhir.mapping import Mapped, mapped
from intake.fhir.views import Submitted
from intake.handlers import episode_of
from messaging.message import Answer


class Submission:
    """One request to the FHIR door; `body` gives a stable name to a ServiceRequest that has none."""

    def __init__(self, doors: Doors, key: str | None, body: bytes) -> None:
        self._doors, self._key, self._body = doors, key, body

    async def all_or_nothing(
        self, document: Document, requests: Sequence[Located], sender: str | None = None
    ) -> list[Submitted]:
        """Each of them taken; raises FhirRefused when one cannot be, before any is sent.

        What cannot be seen beforehand is a second request for the same referral in the same instant; it is refused alone.
        """
        read = self._read(document, requests, sender)
        if len(read) > 1 and (issues := await self._objections(read)):
            raise FhirRefused(*issues)
        done = await asyncio.gather(*(self._send(m, i, document.asides) for i, m in enumerate(read)))
        refused = [issue for one in done if one.refused for issue in one.remarks]
        if refused:
            raise FhirRefused(*refused)
        return done

    async def each(self, document: Document, requests: Iterable[Located]) -> dict[str, Submitted]:
        """What became of each, by its path in the payload."""
        return {request.path: await self._alone(document, request, i) for i, request in enumerate(requests)}

    async def dry(self, document: Document, requests: Sequence[Located], sender: str | None = None) -> list[Issue]:
        """What would be remarked and refused, without sending anything."""
        read = self._read(document, requests, sender)
        return [*await self._objections(read), *document.asides]

    async def _alone(self, document: Document, request: Located, i: int) -> Submitted:
        before = len(document.asides)
        try:
            one = mapped(document, request, None, lambda: self._unnamed(i))
        except FhirRefused as refused:
            return Submitted("", 422, tuple(refused.issues))
        return await self._send(one, i, document.asides[before:])

    def _read(self, document: Document, requests: Sequence[Located], sender: str | None) -> list[Mapped]:
        read: list[Mapped] = []
        issues: list[Issue] = []
        for i, request in enumerate(requests):
            try:
                read.append(mapped(document, request, sender, lambda i=i: self._unnamed(i)))  # type: ignore[misc]
            except FhirRefused as refused:
                issues += refused.issues
        issues += _twice(read)
        if issues:
            raise FhirRefused(*dict.fromkeys(issues))
        return read

    def _unnamed(self, i: int) -> str:
        return self._doors.keys.name(self._body + str(i).encode())

    async def _objections(self, read: Sequence[Mapped]) -> list[Issue]:
        return [
            Issue(one.expression(p.path), "business-rule", f"{p.problem}; expected: {p.expected}")
            for one in read
            for p in await self._doors.objections(one.referral)
        ]

    async def _send(self, one: Mapped, i: int, asides: Sequence[Issue]) -> Submitted:
        key = self._key and (f"{self._key}#{i}" if i else self._key)
        answer = await self._doors.submit(one.referral, "fhir", key)
        episode = episode_of(one.referral)
        if answer.outcome == "applied":
            return Submitted(episode, 200 if answer.reply["repeated"] else 201, tuple(asides))
        return Submitted(episode, 422, tuple(_refusals(one, answer)))


def _refusals(one: Mapped, answer: Answer) -> list[Issue]:
    if answer.reason == "same-id-other-content":
        return [Issue(one.expression("/"), "business-rule", "this Idempotency-Key was used with another body")]
    kind: Kind = "conflict" if answer.reason == "amended" else "business-rule"
    found = [Issue(one.expression(p.path), kind, f"{answer.reason}: {p.problem}") for p in problems_in(answer.reply)]
    return found or [Issue(one.expression("/"), "business-rule", answer.reason or answer.outcome)]


def _twice(read: Sequence[Mapped]) -> list[Issue]:
    """Two requests of one payload under one identifier, of which only one could be taken."""
    times = Counter(episode_of(one.referral) for one in read)
    double = [one for one in read if times[episode_of(one.referral)] > 1]
    return [Issue(one.expression("/identifier"), "conflict", "two requests have this identifier") for one in double]
