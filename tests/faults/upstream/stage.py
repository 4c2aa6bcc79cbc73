"""Glassline in front of the provider that fails on order, and what three of them say about one request."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final, Literal

import httpx

from tests.harness import Glassline
from tests.harness.client import Answer, RawClient, post
from tests.harness.faultupstream import FaultUpstream, Served
from tests.harness.process import wait_until

KEY: Final = "sk-capped-0123456789abcdef"
TIMEOUTS: Final = {"connect": 1, "first_byte": 1, "idle": 1, "body_idle": 2, "write_stall": 2}
Ending = Literal["whole", "cut", "none"]
_NUMBERS: Final = count(1)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the client saw of one request."""

    name: str
    answer: Answer
    seconds: float

    @property
    def body(self) -> bytes:
        """The bytes of the body, out of their framing."""
        return unframed(self.answer)[0]

    @property
    def ending(self) -> Ending:
        """What the framing tells: the answer came whole, was cut, or there was none."""
        return ending(self.answer)

    @property
    def error_code(self) -> str:
        """Of an answer that Glassline made."""
        return header(self.answer, b"x-glassline-error").decode()


@dataclass(frozen=True, slots=True)
class Account:
    """The budget of the key, in nano-USD."""

    spent: int
    reserved: int


class Stage:
    """Both of them, running."""

    def __init__(self, glassline: Glassline, upstream: FaultUpstream) -> None:
        self.glassline = glassline
        self.upstream = upstream

    def ask(
        self,
        fault: str,
        *,
        is_stream: bool = False,
        path: str = "/v1/chat/completions",
        headers: tuple[str, ...] = (),
        name: str = "",
        timeout_s: float = 15.0,
    ) -> Seen:
        """Send one request on a connection of its own and read to the end."""
        name = name or f"n{next(_NUMBERS):06}"
        began = time.monotonic()
        with RawClient(self.glassline.port, timeout_s=timeout_s) as client:
            client.send(request(fault, name, is_stream=is_stream, path=path, headers=headers))
            answer = client.read_all()
        return Seen(name, answer, time.monotonic() - began)

    def rows(self, name: str, count: int = 1) -> list[dict[str, Any]]:
        """Return the records of a request, first attempt first."""
        rows = self.glassline.wait_for_rows(count, f"session = '{name}'")
        return sorted(rows, key=lambda row: int(row["attempt"]))

    def row(self, name: str) -> dict[str, Any]:
        """Return the record of a request; there is one."""
        [row] = self.rows(name)
        return row

    def truth(self, name: str, count: int = 1) -> list[Served]:
        """Return what the provider says of a request that reached it `count` times."""

        def said() -> list[Served]:
            found = [served for served in self.upstream.truth() if served.name == name]
            return found if len(found) >= count else []

        return wait_until(said, f"the truth about {name}")

    def account(self) -> Account:
        """Return the account as it is now."""
        return account(self.glassline)

    def settled(self) -> Account:
        """Return the account when nothing is reserved any more."""

        def free() -> Account | None:
            now = self.account()
            return None if now.reserved else now

        return wait_until(free, "settlement", timeout_s=20)


def account(glassline: Glassline) -> Account:
    """Return the state of the one budget."""
    [budget] = httpx.get(f"{glassline.url}/-/me", headers={"authorization": f"Bearer {KEY}"}).json()["budgets"]
    return Account(round(budget["spent_usd"] * 1e9), round(budget["reserved_usd"] * 1e9))


def request(
    fault: str,
    name: str,
    *,
    is_stream: bool = False,
    path: str = "/v1/chat/completions",
    headers: tuple[str, ...] = (),
    close: bool = True,
    padding: int = 0,
    key: str = KEY,
) -> bytes:
    """Return the bytes of a request that orders `fault`."""
    body: dict[str, Any] = {"model": "gpt-4o-mini", "max_tokens": 50, "messages": [{"role": "user", "content": name}]}
    if is_stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    if padding:
        body["messages"][0]["content"] += " " * padding
    said = (f"x-fault: {fault}", f"x-name: {name}", f"x-glassline-session: {name}", *headers)
    return post(path, json.dumps(body).encode(), key=key, headers=said, close=close)


@contextmanager
def staged(directory: Path, config: Mapping[str, Any] | None = None, **upstream_row: Any) -> Iterator[Stage]:
    """Run both; `upstream_row` is added to the upstream's configuration."""
    with ExitStack() as stack:
        upstream = stack.enter_context(FaultUpstream(directory / "upstream"))
        row = {"base_url": upstream.url, "wire": "openai", "provider": "openai", "allow_private": True} | upstream_row
        claude = {"base_url": upstream.url.removesuffix("/v1"), "allow_private": True}
        whole = {
            "timeouts": TIMEOUTS,
            "upstreams": {"openai": row, "anthropic": claude},
            "keys": [{"name": "capped", "key": KEY, "budgets": [{"limit_usd": 500, "window": "total"}]}],
        }
        glassline = stack.enter_context(closing(Glassline(directory / "glassline", whole | dict(config or {}))))
        yield Stage(glassline.start(), upstream)


def header(answer: Answer, name: bytes) -> bytes:
    """Return the value of a header in lower case; empty: it is missing."""
    _, found, rest = answer.head.partition(b"\r\n" + name + b":")
    return rest.partition(b"\r\n")[0].strip() if found else b""


def ending(answer: Answer) -> Ending:
    """Say how an answer ended, as far as its framing tells."""
    if not answer.status or b"\r\n\r\n" not in answer.raw:
        return "none"
    return "whole" if unframed(answer)[1] else "cut"


def unframed(answer: Answer) -> tuple[bytes, bool]:
    """Return the body of an answer, and whether it ended as its framing promised."""
    if b"chunked" in header(answer, b"transfer-encoding"):
        return _unchunked(answer.body)
    length = header(answer, b"content-length")
    if length:
        return answer.body, len(answer.body) == int(length)
    return answer.body, not answer.is_reset


def _unchunked(raw: bytes) -> tuple[bytes, bool]:
    pieces: list[bytes] = []
    position = 0
    while True:
        end = raw.find(b"\r\n", position)
        if end < 0:
            return b"".join(pieces), False
        size = int(raw[position:end], 16)
        if not size:
            return b"".join(pieces), raw[end + 2 : end + 4] == b"\r\n"
        pieces.append(raw[end + 2 : end + 2 + size])
        position = end + 4 + size
