"""An attack on whoever collects the metrics: every request with names nobody has seen before."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any, Final

from tests.faults.lifecycle.reloads import scrape
from tests.faults.lifecycle.traffic import resident_kb, send_all
from tests.harness import Glassline
from tests.harness.client import post

CANARY: Final = "canary7c6a180b"
_STATUSES: Final = (200, 200, 200, 201, 301, 400, 404, 418, 429, 451, 500, 503, 529, 599)
_WARM_UP: Final = 500


def cardinality(
    glassline: Glassline,
    requests: int,
    *,
    seed: int = 1,
    models: Sequence[str] = (),
    keys: Sequence[str] = (),
) -> dict[str, Any]:
    """Send `requests` with random models, users, sessions, tags, paths, keys and statuses; measure /metrics after it.

    `models` and `keys` are used instead of random ones. The upstream plays `traffic.answer_any`.
    """
    chance = random.Random(seed)
    send_all(glassline.port, min(_WARM_UP, requests), lambda _: _request(chance, models, keys))
    before = resident_kb(glassline)
    done = send_all(glassline.port, requests, lambda _: _request(chance, models, keys))
    _wait_for_records(glassline, len(done))
    started = time.monotonic()
    text = scrape(glassline)
    scraped_ms = (time.monotonic() - started) * 1000
    after = resident_kb(glassline)
    series = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {
        "requests": requests,
        "answered": len(done),
        "series": len(series),
        "bytes": len(text),
        "scrape_ms": round(scraped_ms, 1),
        "canaries": text.count(CANARY),
        "grown_kb": {name: after[name] - before[name] for name in sorted(before.keys() & after.keys())},
    }


def _request(chance: random.Random, models: Sequence[str], keys: Sequence[str]) -> bytes:
    name = f"{CANARY}-{chance.getrandbits(64):x}"
    paths = ("/v1/chat/completions", "/v1/responses", f"/v1/{name}", f"/groq/openai/{name}", f"/t/x:{name}/v1/models")
    body = b'{"model": "%b", "messages": [{"role": "user", "content": "%b"}]}' % (
        (chance.choice(models) if models else name).encode(),
        name.encode(),
    )
    headers = (
        f"x-status: {chance.choice(_STATUSES)}",
        f"x-glassline-user: {name}",
        f"x-glassline-session: {name}",
        f"x-glassline-tags: a={name},{name}=b",
        f"x-glassline-environment: {name}",
        f"x-glassline-prompt: {name}@{name}",
        f"user-agent: {name}",
    )
    return post(
        chance.choice(paths[:3]), body, key=chance.choice(keys) if keys else f"sk-{name}", headers=headers, close=False
    )


def _wait_for_records(glassline: Glassline, least: int) -> None:
    glassline.wait_for_rows(least, timeout_s=60 + least / 200)
