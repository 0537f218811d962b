"""Refers clients through the three public doors, as integrators would: at least once, with the same id said again."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
from aiokafka import AIOKafkaProducer

from cli.demo.fhir import bundle_of
from cli.demo.people import ASSIGNER, Person
from cli.demo.tally import Sent
from contracts.binary import attributes_of, to_headers
from contracts.envelope import Envelope
from contracts.referral import ReferralSubmitted
from contracts.therapist import TherapistListed
from contracts.topics import REFERRALS, THERAPISTS

SOURCE = f"/ehr/{ASSIGNER}"
_PAUSES = (0.1, 0.2, 0.5, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 5.0, 5.0)


class NotAcknowledgedError(RuntimeError):
    """A door did not answer however often it was asked."""


class Referrer:
    """Sends referrals; every method returns the (source, id) under which the referral was acknowledged."""

    def __init__(self, producer: AIOKafkaProducer, intake_url: Callable[[], str]) -> None:
        self._producer, self._intake_url = producer, intake_url
        self._http = httpx.AsyncClient(timeout=30)

    async def refer(self, person: Person) -> Sent:
        """Through the door the person takes."""
        if person.door == "kafka":
            return await self.over_kafka(person.referral)
        if person.door == "http":
            body = person.referral.model_dump(mode="json", exclude_none=True)
            return await self._post("http", "/v1/referrals", body, person.referral.identifier)
        return await self._post("fhir", "/fhir", bundle_of(person.referral), person.referral.identifier)

    async def over_kafka(self, referral: ReferralSubmitted) -> Sent:
        """One record on the inbound topic, acknowledged by the broker."""
        await (await self.send(referral))
        return SOURCE, referral.identifier

    async def send(self, referral: ReferralSubmitted) -> "asyncio.Future[Any]":
        """Hands the record to the producer; the future is the broker's acknowledgement."""
        return await _send(self._producer, record_of(REFERRALS, referral.identifier, referral, referral.identifier))

    async def _post(self, door: str, path: str, body: Any, key: str) -> Sent:
        """2xx and 4xx are answers; no answer or 5xx is asked again with the same key."""
        for pause in _PAUSES:
            try:
                answer = await self._http.post(self._intake_url() + path, json=body, headers={"Idempotency-Key": key})
                if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                    return f"/rapport/intake/{door}", key
            except httpx.TransportError:
                pass
            await asyncio.sleep(pause)
        raise NotAcknowledgedError(path)

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()


async def list_therapist(producer: AIOKafkaProducer, therapist: str, listing: TherapistListed) -> "asyncio.Future[Any]":
    """One listing on the directory's topic."""
    return await _send(producer, record_of(THERAPISTS, therapist, listing, f"{therapist}-{listing.version}"))


async def _send(producer: AIOKafkaProducer, record: dict[str, Any]) -> "asyncio.Future[Any]":
    acknowledged: asyncio.Future[Any] = await producer.send(**record)
    return acknowledged


def record_of(topic: str, subject: str, data: ReferralSubmitted | TherapistListed, event_id: str) -> dict[str, Any]:
    """The arguments of a producer's send, in binary mode."""
    envelope = Envelope(id=event_id, source=SOURCE, type=data.type, subject=subject, time=datetime.now(UTC))
    return {
        "topic": topic,
        "key": subject.encode(),
        "value": data.model_dump_json(exclude_none=True).encode(),
        "headers": to_headers(attributes_of(envelope)),
    }
