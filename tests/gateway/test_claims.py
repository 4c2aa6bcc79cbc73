"""What callers say about a request, in the headers of seven gateways and of trace context."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import BadRequest
from proxy.framing import RequestHead, read_request_head
from proxy.gateway.claims import Claims, read_claims
from proxy.gateway.dialects import ALIASES, FAMILIES, find_alias
from proxy.gateway.rate_policy import RatePolicy, read_rate_policy

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def claims(*lines: str) -> Claims:
    headers = "".join(f"{line}\r\n" for line in lines)
    return read_claims(read_request_head(f"POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n".encode()))


def test_our_own_headers_and_trace_context_are_read() -> None:
    read = claims(
        "x-glassline-user: ann",
        "x-glassline-tags: a=b, c=d",
        "x-glassline-prompt: greet@3",
        "x-stainless-retry-count: 2",
        f"traceparent: {TRACE}",
    )
    assert (read.user, read.tags, read.attempt) == ("ann", (("a", "b"), ("c", "d")), 3)
    assert (read.prompt_name, read.prompt_version) == ("greet", "3")
    assert (read.trace_id, read.parent_id) == ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")


def test_baggage_and_the_sessions_of_agents_are_read() -> None:
    read = claims("baggage: other=1, session.id=s%201;ttl=3, user.id=ann, deployment.environment=prod")
    assert (read.session, read.user, read.environment) == ("s 1", "ann", "prod")
    assert claims("session_id: codex-1").session == "codex-1"
    assert claims("conversation_id: c-1").session == "c-1"
    assert claims("x-claude-code-session-id: s-1").session == "s-1"
    assert claims("x-glassline-session: mine", "session_id: codex-1").session == "mine"


@pytest.mark.parametrize(
    ("lines", "want"),
    [
        (
            (
                "Helicone-Auth: Bearer sk-helicone",
                "Helicone-User-Id: ann",
                "Helicone-Session-Id: s-1",
                "Helicone-Session-Name: Trip",
                "Helicone-Session-Path: /plan/day",
                "Helicone-Property-App: web",
                "Helicone-Property-Environment: prod",
                "Helicone-Prompt-Id: greet",
                "Helicone-Request-Id: 6b1f",
                "Helicone-Omit-Request: true",
                "Helicone-RateLimit-Policy: 10;w=3600;u=cents;s=user",
            ),
            Claims(
                user="ann",
                session="s-1",
                environment="prod",
                prompt_name="greet",
                no_store="request",
                tags=(("session_name", "Trip"), ("session_path", "/plan/day"), ("app", "web"), ("request_id", "6b1f")),
                rate_policy=RatePolicy(10, 3600, "cents", "user"),
            ),
        ),
        (
            (
                "x-litellm-end-user-id: ann",
                "x-litellm-session-id: s-1",
                "x-litellm-trace-id: t-1",
                "x-litellm-tags: fast, jobID:214, a=b",
                'x-litellm-spend-logs-metadata: {"team": "search", "n": 3}',
                "x-litellm-timeout: 2.5",
            ),
            Claims(
                user="ann",
                session="s-1",
                trace_id="t-1",
                timeout_s=2.5,
                tags=(("fast", "true"), ("jobID", "214"), ("a", "b"), ("team", "search"), ("n", "3")),
            ),
        ),
        (
            (
                'x-portkey-metadata: {"_user": "ann", "_environment": "prod", "_prompt": "greet", "team": "a"}',
                "x-portkey-trace-id: t-1",
                "x-portkey-parent-span-id: p-1",
                "x-portkey-request-timeout: 1500",
                "x-portkey-debug: false",
            ),
            Claims(
                user="ann",
                environment="prod",
                prompt_name="greet",
                trace_id="t-1",
                parent_id="p-1",
                timeout_s=1.5,
                no_store="all",
                tags=(("team", "a"),),
            ),
        ),
        (
            ("x-bf-customer-id: ann", "x-bf-session-id: s-1", "x-bf-dim-team: a", "x-bf-disable-content-logging: 1"),
            Claims(user="ann", session="s-1", no_store="all", tags=(("team", "a"),)),
        ),
        (
            ('cf-aig-metadata: {"user": 12345, "paid": true}', "cf-aig-event-id: e-1", "cf-aig-collect-log: false"),
            Claims(user="12345", trace_id="e-1", no_store="all", tags=(("paid", "true"),)),
        ),
        (
            ("x-bt-parent: p-1", "x-bt-project-id: search"),
            Claims(parent_id="p-1", tags=(("project", "search"),)),
        ),
    ],
    ids=["Helicone", "LiteLLM", "Portkey", "Bifrost", "Cloudflare", "Braintrust"],
)
def test_the_headers_of_other_gateways_say_the_same_here(lines: tuple[str, ...], want: Claims) -> None:
    assert claims(*lines) == want


def test_our_own_word_counts_before_that_of_another_gateway_and_both_before_trace_context() -> None:
    read = claims(
        "Helicone-User-Id: theirs", "x-glassline-user: ours", f"traceparent: {TRACE}", "x-bf-maxim-trace-id: t"
    )
    assert (read.user, read.trace_id) == ("ours", "t")


def test_what_two_headers_ask_not_to_store_adds_up() -> None:
    assert claims("Helicone-Omit-Request: true", "Helicone-Omit-Response: true").no_store == "all"
    assert claims("x-glassline-no-store: response", "Helicone-Omit-Request: true").no_store == "all"
    assert claims("Helicone-Omit-Request: false", "cf-aig-collect-log: true").no_store == ""


@pytest.mark.parametrize(
    "line",
    [
        "x-portkey-metadata: not json",
        "x-portkey-metadata: [1, 2]",
        "x-portkey-metadata: " + "[" * 5000,
        "cf-aig-metadata: null",
        "x-litellm-timeout: soon",
        "x-litellm-timeout: nan",
        "x-portkey-request-timeout: -1",
        "Helicone-RateLimit-Policy: lots",
        "Helicone-Omit-Request: perhaps",
        "x-litellm-tags: ,,,",
        "Helicone-Property-: x",
        "traceparent: 00-00000000000000000000000000000000-0000000000000000-00",
        "traceparent: yes",
        "baggage: ;;,=,session.id",
        "helicone-never-heard-of: x",
    ],
)
def test_nonsense_in_a_header_that_is_not_ours_says_nothing(line: str) -> None:
    assert claims(line) == Claims()


@pytest.mark.parametrize("line", ["tags: nonsense", "no-store: some", "timeout: soon", "timeout: -1", "timeout: nan"])
def test_nonsense_in_a_header_of_ours_is_refused(line: str) -> None:
    with pytest.raises(BadRequest):
        claims(f"x-glassline-{line}")


@given(st.lists(st.tuples(st.sampled_from([row.header for row in ALIASES]), st.binary(max_size=80)), max_size=8))
def test_no_value_of_any_dialect_fails_a_request(lines: list[tuple[bytes, bytes]]) -> None:
    head = RequestHead(b"POST", b"/", [])
    head.lowered = {name + b"x" if name.endswith(b"-") else name: value for name, value in lines}
    read = read_claims(head)
    words = (read.user, read.session, read.trace_id, read.parent_id, read.environment, read.prompt_name)
    assert all(word is None or 0 < len(word) <= 256 for word in words)
    assert all(len(name) <= 64 and len(value) <= 256 for name, value in read.tags)


def test_every_row_belongs_to_a_family_that_never_leaves() -> None:
    assert all(row.header.startswith(FAMILIES) and row.header == row.header.lower() for row in ALIASES)
    assert all(find_alias(row.header) is row for row in ALIASES if not row.header.endswith(b"-"))
    assert all(
        (row.claim == "tag") == bool(row.name) for row in ALIASES if row.form == "text" and row.header[-1:] != b"-"
    )


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("1000;w=3600;u=request", RatePolicy(1000, 3600)),
        ("10;w=1000;u=cents;s=user", RatePolicy(10, 1000, "cents", "user")),
        ("10;w=60;s=Organization;", RatePolicy(10, 60, "request", "organization")),
        (" 5 ; w=60 ", RatePolicy(5, 60)),
        ("5; w = 60 ", RatePolicy(5, 60)),
        ("5;w=59", None),
        ("5;w=-60", None),
        ("5;w=0000000000060", None),
        ("5", None),
        ("5;u=request", None),
        ("5;w=60;u=euros", None),
        ("1e3;w=60", None),
        ("", None),
    ],
)
def test_a_rate_policy_is_read_or_ignored(text: str, want: RatePolicy | None) -> None:
    assert read_rate_policy(text) == want


@given(st.text(max_size=256))
def test_any_rate_policy_is_read_in_no_time(text: str) -> None:
    read_rate_policy(text)
    read_rate_policy("5;w=60;" + text)
    read_rate_policy("5" + "; " * 100 + text)


def test_a_rate_policy_made_to_be_slow_to_read_is_refused_at_once() -> None:
    began = time.thread_time()
    assert read_rate_policy("1" + ";a=     " * 5 + ";;") is None
    assert read_rate_policy("1" + ";a=     " * 2000 + ";;") is None
    assert time.thread_time() - began < 0.1, "every further field once took a hundred times as long"
