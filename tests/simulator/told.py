"""Asks a simulated provider, and reads its answer the way a record would."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from proxy import wire
from proxy.records import Reading
from tests.harness import Simulator
from tests.harness.process import wait_until
from tests.simulator.raw import exchange
from tests.wire.exchanges import make_exchange


@dataclass(frozen=True)
class Told:
    """An answer, what is read of it, and what the provider says it billed."""

    status: int
    head: bytes
    body: bytes
    reading: Reading
    truth: dict[str, Any]

    def assert_usage_is_true(self) -> None:
        """Assert that the reading has every token that was billed, in its place, and nothing odd."""
        usage, billed = self.reading.usage, self.truth["usage"]
        assert usage is not None
        assert billed["input_tokens"] > 0
        assert usage.input_tokens == billed["input_tokens"]
        assert (usage.output_tokens or 0) == billed["output_tokens"]
        assert (usage.cached_input_tokens or 0) == billed["cached_tokens"]
        assert (usage.reasoning_tokens or 0) in (billed["reasoning_tokens"], 0)
        assert self.reading.problems == ()


def ask(
    provider: Simulator, path: str, body: dict[str, Any], *, dialect: str, price_id: str | None = None, **headers: str
) -> Told:
    """Send one request; `dialect`: the wire as a configuration would name it."""
    tag = uuid.uuid4().hex
    got = exchange(provider.port, body, path, x_tag=tag, **headers)
    lines = {line.partition(b": ")[0]: line.partition(b": ")[2] for line in got.head.split(b"\r\n")}
    seen = make_exchange(
        body,
        got.body,
        path=path,
        wire=dialect,
        provider=price_id,
        status=got.status,
        content_type=lines[b"content-type"],
        coding=lines.get(b"content-encoding"),
    )

    def done() -> list[dict[str, Any]]:
        return [line for line in provider.truth("done") if line["x_request"].get("x-tag") == tag]

    [truth] = wait_until(done, "the request's line in the truth log", timeout_s=10)
    return Told(got.status, got.head, got.body, wire.read(seen), truth)
