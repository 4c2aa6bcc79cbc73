"""Steady traffic beside what is done to the databases: who asks, what, and what of it was recorded."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import apsw

from tests.harness import Glassline
from tests.harness.client import post
from tests.harness.pacer import NUMBER, Asked, p99

FREE: Final = "sk-free-0123456789abcdef"
"""Key without a budget."""
PAID: Final = "sk-paid-0123456789abcdef"
"""Key with one."""
CONFIG: Final[dict[str, Any]] = {
    "keys": [
        {"name": "free", "key": FREE},
        {"name": "paid", "key": PAID, "budgets": [{"limit_usd": 1000, "window": "total"}]},
    ]
}
WARM_S: Final = 1.0
"""Until connections are open and what starts late has started."""
_STREAM: Final = "run;sse | chunked | event 2 | sleep 0.02 | event 3 | usage | done | end"


def ask(key: str = FREE, *, is_stream: bool = False) -> bytes:
    """Return a request of a session of its own, to be sent many times."""
    body: dict[str, Any] = {"model": "gpt-4o-mini", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}
    if is_stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    headers = (f"x-glassline-session: {NUMBER.decode()}", f"x-fault: {_STREAM if is_stream else 'ok'}")
    return post("/v1/chat/completions", json.dumps(body).encode(), key=key, headers=headers, close=False)


def missing(asked: Iterable[Asked], recorded: set[str]) -> int:
    """Return how many requests are not among the recorded sessions."""
    return len({_session(each) for each in asked} - recorded)


def sessions(database: Path) -> set[str]:
    """Return the sessions that are recorded in a database."""
    connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        connection.set_busy_timeout(5000)
        return {str(name) for (name,) in connection.execute("SELECT session FROM exchanges WHERE session IS NOT NULL")}
    finally:
        connection.close()


def count(glassline: Glassline) -> int:
    """Return how many requests are recorded now."""
    [row] = glassline.rows("SELECT count(*) AS number FROM exchanges")
    return int(row["number"])


def problems(asked: Iterable[Asked]) -> list[str]:
    """Return what went wrong."""
    return [each.problem for each in asked if each.problem]


def whole_p99(asked: Iterable[Asked]) -> float:
    """Return the 99th percentile of the times to the end of the answers, in milliseconds."""
    return p99([each.whole_ms for each in asked])


def first_p99(asked: Iterable[Asked]) -> float:
    """Return the 99th percentile of the times to the first byte of the answers, in milliseconds."""
    return p99([each.first_ms for each in asked])


@contextmanager
def locking(database: Path) -> Iterator[None]:
    """Keep everybody else from writing."""
    connection = apsw.Connection(str(database))
    connection.set_busy_timeout(5000)
    try:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


def _session(asked: Asked) -> str:
    return f"{asked.number:09}"
