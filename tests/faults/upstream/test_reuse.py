"""A connection to an upstream is used again only after an answer that left nothing behind: no caller gets another's bytes."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.upstream.stage import Seen, Stage, staged
from tests.harness.client import RawClient
from tests.harness.faultprogram import body_of

ANOMALIES = (
    "short-length",
    "glued",
    "glued-chunked",
    "204-body",
    "204-late-body",
    "both",
    "two-lengths",
    "informational;20",
    "early",
    "close-silently",
    "run;json | length 900 | answer | fin",
    "run;sse | chunked | event 2 | done | end | raw 0\\r\\n\\r\\n",
)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("reuse")) as made:
        yield made


def test_a_thousand_requests_between_anomalies_never_get_each_others_bytes(stage: Stage) -> None:
    """Every second request meets an anomaly, four at a time, so that connections are handed around."""
    rng = random.Random(11)
    plans = [rng.choice(ANOMALIES) if number % 2 else "ok" for number in range(1000)]

    def ask(plan: tuple[int, str]) -> tuple[str, Seen]:
        number, fault = plan
        return fault, stage.ask(fault, name=f"nonce{number:05}")

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, enumerate(plans)))
    crossed = [seen for _, seen in answers if b"stolen" in seen.body or _names_another(seen)]
    assert not crossed
    ordinary = [seen for fault, seen in answers if fault == "ok"]
    assert all(seen.body == body_of(seen.name) for seen in ordinary)
    assert sum(seen.answer.status != 200 for seen in ordinary) == 0


def _names_another(seen: Seen) -> bool:
    return seen.body.replace(seen.name.encode(), b"").find(b"nonce") >= 0


@pytest.mark.parametrize("anomaly", [*(each for each in ANOMALIES if each != "early"), "run;sleep 0.15 | rst", "stall"])
def test_no_request_follows_an_anomaly_on_its_connection(stage: Stage, anomaly: str) -> None:
    first = stage.ask(anomaly, is_stream=anomaly == "stall")
    second = stage.ask("ok")
    assert second.body == body_of(second.name)
    [spoiled], [clean] = stage.truth(first.name), stage.truth(second.name)
    assert clean.connection != spoiled.connection


def test_ordinary_answers_share_a_connection(stage: Stage) -> None:
    names = [stage.ask("ok").name for _ in range(5)]
    assert len({served.connection for name in names for served in stage.truth(name)}) == 1


def test_an_answer_that_nobody_asked_for_ends_an_idle_connection(stage: Stage) -> None:
    first = stage.ask("glued-late")
    time.sleep(
        0.1
    )  # it comes 2 ms after the answer; only what comes after the next request cannot be told from its answer
    second = stage.ask("ok")
    assert second.body == body_of(second.name)
    [spoiled], [clean] = stage.truth(first.name), stage.truth(second.name)
    assert clean.connection != spoiled.connection


def test_an_answer_before_the_request_was_sent_is_passed_on_and_its_connection_closed(stage: Stage) -> None:
    body = json.dumps({"padding": " " * 3_000_000}).encode()
    lines = [
        "POST /v1/files HTTP/1.1",
        "Host: a",
        "Authorization: Bearer sk-nobody-0123456789",
        f"Content-Length: {len(body)}",
        "x-fault: early",
        "x-name: hasty",
        "x-glassline-session: hasty",
    ]
    with RawClient(stage.glassline.port) as client:
        client.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body[:2_000_000])
        answer = client.read_until(b"}}")
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(body_of("hasty"))
    following = stage.ask("ok")
    assert following.body == body_of(following.name)
    [hasty], [clean] = stage.truth("hasty"), stage.truth(following.name)
    assert hasty.connection != clean.connection
    assert stage.row("hasty")["outcome"] == "completed"
