"""Everything that an upstream can do wrong: what the client gets, what the record says, what the budget pays."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

import pytest

from tests.faults.upstream.stage import Ending, Seen, Stage, header, staged

Money = Literal["nothing", "its cost", "the reservation"]


@dataclass(frozen=True, slots=True)
class Case:
    """One fault and what is demanded of it."""

    name: str
    fault: str
    outcome: str
    status: int
    ending: Ending
    spends: Money
    error: str = ""
    """`x-glassline-error` that the client sees."""
    row_error: str | None = None
    """`error_code` of the record, when it is another one."""
    between_s: tuple[float, float] = (0.0, 1.0)
    """How long it takes."""
    modes: tuple[bool, ...] = (False, True)
    """Asked for as a whole, as a stream."""


def early(name: str, fault: str, **more: object) -> Case:
    """A failure before a byte has gone to the client: an error of ours."""
    made = Case(name, fault, "upstream_reset", 502, "whole", "the reservation", error="upstream_unreachable")
    return replace(made, **more)  # type: ignore[arg-type]  # checked by the dataclass at run time


def silent(name: str, fault: str) -> Case:
    """Nothing comes until a deadline."""
    return early(name, fault, outcome="timeout", status=504, error="upstream_timeout", between_s=(0.75, 2.5))


def cut(name: str, fault: str, outcome: str, spends: Money = "its cost", **more: object) -> Case:
    """A failure in the middle of an answer."""
    made = Case(name, fault, outcome, 200, "cut", spends)
    return replace(made, **more)  # type: ignore[arg-type]  # checked by the dataclass at run time


def fine(name: str, fault: str, **more: object) -> Case:
    """An answer that is delivered, odd as it is."""
    made = Case(name, fault, "completed", 200, "whole", "its cost")
    return replace(made, **more)  # type: ignore[arg-type]  # checked by the dataclass at run time


STREAM, WHOLE = (True,), (False,)
PARTS: Final = "sse | chunked | event 3 | sleep 0.02 | "
CASES: Final = [
    silent("accepts and is silent", "silence"),
    silent("head that stalls", "head-stall"),
    silent("head that drips", "head-drip"),
    silent("one byte a second of a head", "run;drip 0.2 HTTP/1.1 200 OK\\r\\ncontent-length: 0"),
    early("reset before the head", "rst"),
    early("close before the head", "fin"),
    early("reset in the head", "rst-in-head"),
    early("close in the head", "fin-in-head"),
    early(
        "chunk size that is none, at once",
        "run;sse | chunked | raw HTTP/1.1 200 OK\\r\\ntransfer-encoding: chunked\\r\\n\\r\\nzz\\r\\n",
    ),
    cut("reset in a stream", f"run;{PARTS}rst", "upstream_reset", modes=STREAM),
    cut("close in a stream", f"run;{PARTS}fin", "truncated", modes=STREAM),
    cut("reset within a chunk", f"run;{PARTS}raw ff\\r\\ndata: | sleep 0.02 | rst", "upstream_reset", modes=STREAM),
    cut("close within a chunk", f"run;{PARTS}raw ff\\r\\ndata: | sleep 0.02 | fin", "truncated", modes=STREAM),
    cut("no last chunk", f"run;{PARTS}usage | done | sleep 0.02 | fin", "truncated", modes=STREAM),
    cut("reset of a stream ended by close", "run;sse | event 3 | sleep 0.05 | rst", "upstream_reset", modes=STREAM),
    cut("reset in a body", "run;json | length 900 | answer | sleep 0.02 | rst", "upstream_reset"),
    cut("length that is too long", "run;json | length 900 | answer | sleep 0.02 | fin", "truncated"),
    cut("broken chunk", f"run;{PARTS}raw zz\\r\\n | silence", "upstream_reset", modes=STREAM),
    cut("stream that stalls", "stall", "timeout", row_error="upstream_timeout", between_s=(0.75, 2.5), modes=STREAM),
    cut(
        "body that stalls",
        "stall-body",
        "timeout",
        "the reservation",
        row_error="upstream_timeout",
        between_s=(0.75, 2.5),
    ),
    fine(
        "stream that ends by close without its last event",
        "run;sse | event 3 | sleep 0.02 | fin",
        outcome="truncated",
        modes=STREAM,
    ),
    fine(
        "JSON that ends by close, half",
        'run;json | text {"id":"x","choi | fin',
        outcome="truncated",
        spends="the reservation",
        modes=WHOLE,
    ),
    fine(
        "JSON that ends by close before it began",
        "run;json | raw HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\n\\r\\n | sleep 0.02 | fin",
        outcome="truncated",
        modes=WHOLE,
    ),
    fine("JSON that ends by close, whole", "run;json | answer | fin", modes=WHOLE),
    fine(
        "comments that keep it alive",
        "run;sse | chunked | event 2 | sleep 0.6 | comment | sleep 0.6 | comment | sleep 0.6 | event 2 | usage | done | end",
        between_s=(1.5, 4),
        modes=STREAM,
    ),
    early("not HTTP", "garbage"),
    early("HTTP/0.9", "html"),
    early("status 999", "status-999"),
    early("HTTP/2", "http-2"),
    early("too many informational answers", "informational;20"),
    early("20,000 informational answers", "informational;20000"),
    fine("a few informational answers", "informational;5"),
    early("128 KB header", "big-header;131072"),
    early("10 MB header", "big-header;10485760"),
    early("5,000 headers", "many-headers;5000"),
    early("length and chunks", "both"),
    early("two lengths", "two-lengths"),
    early("negative length", "run;raw HTTP/1.1 200 OK\\r\\ncontent-length: -5\\r\\n\\r\\nabcde"),
    early("bare CR in a header", "run;raw HTTP/1.1 200 OK\\r\\nx-a: b\\rc\\r\\ncontent-length: 0\\r\\n\\r\\n"),
    early("NUL in a header", "run;raw HTTP/1.1 200 OK\\r\\nx-a: b\\x00c\\r\\ncontent-length: 0\\r\\n\\r\\n"),
    early(
        "control character in a header", "run;raw HTTP/1.1 200 OK\\r\\nx-a: b\\x01c\\r\\ncontent-length: 0\\r\\n\\r\\n"
    ),
    early("folded header", "run;raw HTTP/1.1 200 OK\\r\\nx-a: b\\r\\n c\\r\\ncontent-length: 0\\r\\n\\r\\n"),
    early("an upgrade that nobody asked for", "run;raw HTTP/1.1 101 Switching Protocols\\r\\nupgrade: x\\r\\n\\r\\n"),
    fine("length that is too short", "short-length"),
    fine("204 with a body", "204-body", status=204, modes=WHOLE),
    fine("second answer glued on", "glued"),
    fine("answer before the request was read", "early"),
    fine("redirect", "redirect;http://169.254.169.254/latest", status=307, spends="nothing"),
    fine("429 with retry-after", "limited", status=429, spends="nothing", row_error="rate_limit_exceeded"),
    fine("500", "status;500", status=500, spends="nothing", row_error="server_error"),
    fine("529", "status;529", status=529, spends="nothing", row_error="server_error"),
    fine("error inside a stream", "error-event", outcome="upstream_error", row_error="server_error", modes=STREAM),
    fine("gzip", "run;json | length | gzip good"),
    fine("gzip twice", "run;json | length | gzip twice"),
    fine("gzip that lies", "run;json | length | gzip lying", modes=WHOLE),
    fine("stream in gzip that lies", "run;sse | chunked | gzip lying | end", outcome="truncated", modes=STREAM),
    fine("gzip cut short", "run;json | length | gzip cut", modes=WHOLE),
    fine("close after the answer", "close-silently"),
]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("upstream-faults")) as made:
        yield made


@pytest.mark.parametrize(
    ("case", "is_stream"),
    [
        pytest.param(case, mode, id=f"{case.name}-{'stream' if mode else 'whole'}")
        for case in CASES
        for mode in case.modes
    ],
)
def test_a_fault_of_the_upstream_is_told_recorded_and_settled(stage: Stage, case: Case, is_stream: bool) -> None:
    before = stage.settled().spent
    seen = stage.ask(case.fault, is_stream=is_stream)
    assert (seen.answer.status, seen.ending, seen.error_code) == (case.status, case.ending, case.error)
    assert case.between_s[0] <= seen.seconds <= case.between_s[1] + 1
    if case.error:
        assert json.loads(seen.body)["error"]["code"] == case.error
    row = stage.row(seen.name)
    assert (row["outcome"], row["status"]) == (case.outcome, case.status)
    assert row["error_code"] == (case.row_error or case.error or None)
    if not case.error:
        assert row["response_bytes"] == len(seen.body)
    _check_money(case, row["cost_usd"], stage.settled().spent - before)
    assert stage.ask("ok").ending == "whole", "one fault must not spoil the next request"


def _check_money(case: Case, cost_usd: float | None, spent: int) -> None:
    if case.spends == "nothing":
        assert (cost_usd, spent) == (0, 0)
    elif case.spends == "the reservation":
        assert cost_usd is None
        assert spent > 0
    elif cost_usd is None:  # what nobody could read is paid with the whole reservation
        assert spent > 0
        assert "gzip" in case.fault
    else:
        assert spent == round(cost_usd * 1e9) > 0


@pytest.mark.parametrize(
    "fault",
    [
        "run;json | length | gzip good",
        "run;json | length | gzip twice",
        "run;json | length | gzip cut",
        "glued",
        "204-body",
    ],
)
def test_the_client_gets_the_bytes_that_were_sent(stage: Stage, fault: str) -> None:
    seen = stage.ask(fault)
    [served] = stage.truth(seen.name)
    assert hashlib.sha256(seen.body).hexdigest() == served.sent_sha256


@pytest.mark.parametrize(
    "usage",
    [
        "",
        'data: {"choices":[],"usage":{"prompt_tokens":-5,"completion_tokens":-7}}\\n\\n',
        'data: {"choices":[],"usage":{"prompt_tokens":1e308,"completion_tokens":1e308}}\\n\\n',
        'data: {"choices":[],"usage":{"prompt_tokens":"9","completion_tokens":"5"}}\\n\\n',
        'data: {"choices":[],"usage":{"prompt_tokens":NaN,"completion_tokens":5}}\\n\\n',
        'data: {"choices":[],"usage":null}\\n\\n',
        'data: {"choices":[],"usage":[]}\\n\\n',
        'data: {"choices":[],"usage":{}}\\n\\n',
    ],
    ids=["missing", "negative", "1e308", "strings", "NaN", "null", "list", "empty"],
)
def test_usage_that_cannot_be_meant_is_estimated_and_never_given_back(stage: Stage, usage: str) -> None:
    before = stage.settled().spent
    step = f"usage {usage} | " if usage else ""
    seen = stage.ask(f"run;sse | chunked | event 5 | {step}done | end", is_stream=True)
    row = stage.row(seen.name)
    assert (row["outcome"], row["usage_source"]) == ("completed", "estimated")
    spent = stage.settled().spent - before
    assert spent > 0
    if row["cost_usd"] is not None:
        assert spent == round(row["cost_usd"] * 1e9)


def test_usage_that_is_told_twice_counts_once(stage: Stage) -> None:
    before = stage.settled().spent
    seen = stage.ask("run;sse | chunked | event 5 | usage | usage | done | end", is_stream=True)
    row = stage.row(seen.name)
    assert (row["output_tokens"], row["usage_source"]) == (5, "provider")
    assert stage.settled().spent - before == round(row["cost_usd"] * 1e9)


@pytest.mark.parametrize(
    "done",
    ["data: [DONE] \\n\\n", "data: [done]\\n\\n", "data:[DONE]", ""],
    ids=["blank", "lower case", "no blank line", "none"],
)
def test_a_strange_end_mark_is_passed_on_as_it_is(stage: Stage, done: str) -> None:
    text = f"text {done} | " if done else ""
    seen = stage.ask(f"run;sse | chunked | event 2 | usage | {text}end", is_stream=True)
    [served] = stage.truth(seen.name)
    assert seen.ending == "whole"
    assert hashlib.sha256(seen.body).hexdigest() == served.sent_sha256
    assert stage.row(seen.name)["outcome"] in ("completed", "truncated")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_leads_nowhere(stage: Stage, status: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0.3)
        location = f"http://127.0.0.1:{trap.getsockname()[1]}/x"
        seen = stage.ask(f"run;status {status} | header location: {location} | length | text moved")
        assert seen.answer.status == status
        assert header(seen.answer, b"location").decode() == location
        with pytest.raises(TimeoutError):
            trap.accept()


def test_a_limit_of_the_provider_arrives_word_for_word(stage: Stage) -> None:
    seen = stage.ask("limited")
    assert header(seen.answer, b"retry-after") == b"7"
    assert header(seen.answer, b"x-ratelimit-remaining-requests") == b"0"
    assert json.loads(seen.body)["error"]["message"] == "slow down"
    assert len(stage.truth(seen.name)) == 1


def test_what_speaks_of_the_providers_host_does_not_reach_the_client(stage: Stage) -> None:
    line = "header strict-transport-security: max-age=1 | header alt-svc: h3 | header keep-alive: timeout=5"
    seen = stage.ask(f"run;{line} | header x-kept: yes | json | length | answer")
    assert header(seen.answer, b"x-kept") == b"yes"
    for name in (b"strict-transport-security", b"alt-svc", b"keep-alive"):
        assert not header(seen.answer, name)


@pytest.mark.parametrize("fault", ["rst", "silence", "garbage"])
def test_the_error_is_in_the_words_of_the_clients_api(stage: Stage, fault: str) -> None:
    seen: Seen = stage.ask(fault, path="/anthropic/v1/messages")
    error = json.loads(seen.body)
    assert error["type"] == "error"
    assert error["error"]["type"] in ("api_error", "timeout_error")
    assert seen.error_code in ("upstream_unreachable", "upstream_timeout")
