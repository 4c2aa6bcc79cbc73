"""Asks a simulated provider over HTTP, reads its answer with the wire readers, and holds both against its truth log."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec

from proxy.records import Reading, join_headers
from proxy.wire import read
from tests.harness import Simulator
from tests.harness.process import wait_until
from tests.wire.exchanges import make_exchange

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Told:
    """An answer, as it came and as it was read."""

    response: httpx.Response
    reading: Reading
    truth: dict[str, Any]
    """The line of the truth log that ended the request."""

    @property
    def json(self) -> Any:
        return self.response.json()

    def assert_usage_is_true(self) -> None:
        """Assert that every bucket that was read is what the provider billed."""
        usage, billed = self.reading.usage, self.truth["usage"]
        assert usage is not None
        assert (usage.input_tokens, usage.output_tokens) == (billed["input_tokens"], billed["output_tokens"])
        assert (usage.cached_input_tokens or 0) == billed["cached_tokens"]
        assert (usage.cache_write_5m or 0, usage.cache_write_1h or 0) == (
            billed.get("cache_write_5m_tokens", 0),
            billed.get("cache_write_1h_tokens", 0),
        )
        assert (usage.web_searches or 0) == billed.get("web_searches", 0)


def tell(
    provider: Simulator,
    wire: str,
    path: str,
    content: Any = None,
    *,
    method: str = "POST",
    simulate: str = "",
    headers: dict[str, str] | None = None,
) -> Told:
    """Ask; `content` goes as JSON unless it is bytes."""
    body = content if isinstance(content, bytes) else b"" if content is None else msgspec.json.encode(content)
    mark = f"{os.getpid()}-{next(_numbers)}"
    sent = {"content-type": "application/json", "x-api-key": "sk-test", "x-mark": mark, "x-simulate": simulate}
    url = f"http://127.0.0.1:{provider.port}{path}"
    response = httpx.request(method, url, content=body, headers=sent | (headers or {}), timeout=20)
    made = make_exchange(
        body,
        response.content,
        path=path,
        method=method,
        wire=wire,
        provider=None,
        status=response.status_code,
        content_type=b"",
    )
    raw = tuple(header for header in response.headers.raw if header[0].lower() != b"content-encoding")
    end = msgspec.structs.replace(made.end, head=join_headers(raw))
    return Told(response, read(msgspec.structs.replace(made, end=end)), _truth(provider, mark))


def _truth(provider: Simulator, mark: str) -> dict[str, Any]:
    def found() -> dict[str, Any] | None:
        return next((line for line in provider.truth("done") if line["x_request"].get("x-mark") == mark), None)

    return wait_until(found, "the line of the truth log")
