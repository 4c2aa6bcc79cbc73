"""Demo traffic: sends what the applications of the `office` ask, at a given rate, and lets them hear the answers."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from proxy.simulator.office import Message, Office, Visit

_MOST_IN_FLIGHT = 200
"""Beyond this a slow provider gets no more: a demo is not a load test."""
_TIMEOUT_S = 60.0


@dataclass(slots=True)
class Tally:
    """What became of the traffic."""

    sent: int = 0
    answered: int = 0
    refused: int = 0
    """Answered with a status of 400 or more."""
    abandoned: int = 0
    """Left by the client."""
    broken: int = 0
    """The connection failed, or the stream ended with an error."""

    @property
    def in_flight(self) -> int:
        """Sent, and nothing is known yet."""
        return self.sent - self.answered - self.refused - self.abandoned - self.broken


async def generate(base_url: str, *, seed: int, rate_per_s: float, duration_s: float | None = None) -> Tally:
    """Send demo traffic to `base_url` (ending in `/v1`) for so many seconds and count what became of it.

    With None it goes on until cancelled. Requests under way at the end are waited for.
    """
    office, tally, pauses = Office(seed), Tally(), random.Random(seed)
    loop = asyncio.get_running_loop()
    limits = httpx.Limits(max_connections=_MOST_IN_FLIGHT, max_keepalive_connections=_MOST_IN_FLIGHT)
    async with httpx.AsyncClient(timeout=_TIMEOUT_S, limits=limits) as client, asyncio.TaskGroup() as visits:
        ends_at = None if duration_s is None else loop.time() + duration_s
        while ends_at is None or loop.time() < ends_at:
            if tally.in_flight < _MOST_IN_FLIGHT:
                tally.sent += 1
                visits.create_task(_pay(client, base_url, office, office.next_visit(), tally))
            await asyncio.sleep(pauses.expovariate(rate_per_s))
    return tally


async def _pay(client: httpx.AsyncClient, base_url: str, office: Office, visit: Visit, tally: Tally) -> None:
    """Make one request and hand its answer over; whatever goes wrong is counted, and part of the show."""
    try:
        answer = await _ask(client, f"{base_url}/{visit.call.path}", visit, tally)
    except (httpx.HTTPError, ValueError):
        tally.broken += 1
        answer = None
    office.hear(visit, answer)


async def _ask(client: httpx.AsyncClient, url: str, visit: Visit, tally: Tally) -> Message | None:
    async with client.stream("POST", url, json=visit.call.body, headers=dict(visit.headers)) as response:
        if response.status_code >= 400:
            await response.aread()
            tally.refused += 1
            return None
        if not visit.call.is_streamed:
            answer = read_message(json.loads(await response.aread()))
        else:
            streamed = await _read_stream(response, visit.leaves_after)
            if streamed is None:
                tally.abandoned += 1
                return None
            answer = {"role": "assistant", "content": streamed}
        tally.answered += 1
        return answer


async def _read_stream(response: httpx.Response, leaves_after: int | None) -> str | None:
    """Return the text of a stream; None if the client left before its end. Raises ValueError for an error event."""
    parts, lines = [], 0
    async for line in response.aiter_lines():
        lines += 1
        if lines == leaves_after:
            return None
        if line.startswith("data: {"):
            parts.append(read_delta(json.loads(line.removeprefix("data: "))))
    return "".join(parts)


def read_message(body: Mapping[str, Any]) -> Message:
    """Return the message of a plain answer; answers without one, such as vectors, give an empty message."""
    for choice in body.get("choices") or ():
        message: Message = choice["message"]
        return message
    return {"role": "assistant", "content": ""}


def read_delta(event: Mapping[str, Any]) -> str:
    """Return the text that an event of a stream adds. Raises ValueError if it reports an error."""
    if (event.get("error") and "choices" not in event) or event.get("type") == "error":
        raise ValueError("the provider failed in the middle of its answer")
    if event.get("type") == "response.output_text.delta":
        return str(event["delta"])
    return "".join(choice["delta"].get("content") or "" for choice in event.get("choices") or ())
