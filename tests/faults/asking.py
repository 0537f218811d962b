"""One HTTP request over a connection of its own: a harness that sends thousands must not cost more than what it tests."""

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit


class NoAnswer(Exception):
    """The connection was refused or cut, or nothing came in time."""


async def post(url: str, body: Any, key: str, within: float) -> int:
    """The status of the answer to a JSON body; raises NoAnswer."""
    parts = urlsplit(url)
    data = json.dumps(body).encode()
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\nConnection: close\r\n"
        f"Idempotency-Key: {key}\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    try:
        async with asyncio.timeout(within):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            try:
                writer.write(head.encode() + data)
                return int((await reader.readuntil(b"\r\n")).split()[1])
            finally:
                writer.close()
    except (OSError, TimeoutError, asyncio.IncompleteReadError, IndexError, ValueError) as error:
        raise NoAnswer from error
