"""Who may do what: every dialect and every billed path, under an allow-list and under a budget."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from proxy.config import Config
from proxy.framing import read_request_head
from proxy.gates.budgets import Budgets, shared_templates
from proxy.gates.keys import KeyPolicy, KeyRing
from proxy.gateway.gate import Gate
from proxy.gateway.refusal import Refusal
from proxy.gateway.routing import Router, build_targets
from proxy.gateway.socket.meter import Needed
from proxy.operations import DIALECTS_OF, find_operation
from proxy.reservations import Reserve
from proxy.secrets import Secret

KEY = "sk-gated-0123456789"
NOW_MS = 1_795_000_000_000
JSON = "application/json"
FORM = "multipart/form-data; boundary=b"
BUDGET = {"limit_usd": 5, "window": "total"}


class Desk:
    """A gate with one key, asked about one request at a time."""

    def __init__(self, *, shared: bool = False, top: dict[str, Any] | None = None, **key: Any) -> None:
        config = Config.model_validate(
            {
                "keys": [{"name": "app", "key": KEY, **key}],
                "upstreams": {
                    "az": {"base_url": "http://127.0.0.1:9", "wire": "azure"},
                    "rock": {"base_url": "http://127.0.0.1:9", "wire": "bedrock", "provider": "aws"},
                    "llama": {"base_url": "http://127.0.0.1:9", "wire": "ollama", "free": True},
                    "odd": {"base_url": "http://127.0.0.1:9", "wire": "none"},
                },
                "budgets": [{"name": "everything", **BUDGET}] if shared else [],
                **(top or {}),
            }
        )
        self.keys = KeyRing(config.keys, (), Secret(b"pepper"))
        self.gate = Gate(config, self.keys, Budgets(shared_templates(config.budgets)), owner="test")
        self.router = Router(build_targets(config), "openai")

    def ask(
        self, path: str, body: object, *, method: str = "POST", content_type: str = JSON, known: bool = True
    ) -> Refusal | Reserve | None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = read_request_head(
            f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\n\r\n".encode()
        )
        route = self.router.find(path.encode(), method)
        assert route is not None
        policy: KeyPolicy | None = self.keys.find(KEY.encode()) if known else None
        window = self.gate.window_for(policy, route, head.method)
        whole = raw if len(raw) <= window else None
        seen = self.gate.read(policy, route, head, whole) if whole else None
        return self.gate.judge_request(policy, route, head, whole, seen) or self.gate.reservation(
            "x",
            policy,
            route,
            method=head.method,
            user=None,
            input_bytes=len(raw),
            body=whole,
            peek=seen,
            now_ms=NOW_MS,
        )


def refusal(answer: Refusal | Reserve | None) -> tuple[int, str]:
    assert isinstance(answer, Refusal), answer
    return answer.status, answer.code


def reserve(answer: Refusal | Reserve | None) -> Reserve:
    assert isinstance(answer, Reserve), answer
    return answer


NOT_ALLOWED = (403, "model_not_allowed")
BAD = (400, "bad_request")
SPENDING: dict[str, str] = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "embeddings": "/v1/embeddings",
    "images": "/v1/images/generations",
    "speech": "/v1/audio/speech",
    "transcription": "/v1/audio/transcriptions",
    "video": "/v1/videos",
    "batches": "/v1/batches",
    "fine-tuning": "/v1/fine_tuning/jobs",
    "secrets": "/v1/realtime/client_secrets",
    "calls": "/v1/realtime/calls",
    "unknown": "/v1/something/new",
    "messages": "/anthropic/v1/messages",
    "message batches": "/anthropic/v1/messages/batches",
    "ollama": "/llama/api/chat",
    "no dialect": "/odd/whatever",
    "another method": "/v1/chat/completions",
}
FREE: dict[str, tuple[str, str]] = {
    "models": ("GET", "/v1/models"),
    "files": ("POST", "/v1/files"),
    "batch": ("GET", "/v1/batches/b_1"),
    "cancel": ("POST", "/v1/batches/b_1/cancel"),
    "a response": ("GET", "/v1/responses/r_1"),
    "moderation": ("POST", "/v1/moderations"),
    "counting": ("POST", "/anthropic/v1/messages/count_tokens"),
    "unknown but reading": ("GET", "/v1/something/new"),
    "gemini files": ("POST", "/upload/v1beta/files"),
}


@pytest.mark.parametrize("case", SPENDING)
@pytest.mark.parametrize(
    "body",
    [
        {"model": "gpt-4o-mini"},
        {},
        {"model": ["gpt-5"]},
        gzip.compress(b'{"model":"gpt-5"}'),
        b"",
        b'{"model":"gpt-5"',
        b'{"x":"' + b"y" * 2_000_000 + b'"}',
    ],
    ids=["another model", "no model", "a list", "gzip", "empty", "cut off", "2 MB"],
)
def test_an_allow_list_holds_on_every_path_that_may_spend(case: str, body: Any) -> None:
    desk = Desk(models=["gpt-5*"])
    method = "PUT" if case == "another method" else "POST"
    assert refusal(desk.ask(SPENDING[case], body, method=method)) in (NOT_ALLOWED, BAD)


@pytest.mark.parametrize("case", SPENDING)
def test_a_model_named_twice_or_in_another_case_passes_no_allow_list(case: str) -> None:
    desk = Desk(models=["gpt-5*"])
    method = "PUT" if case == "another method" else "POST"
    for body in (b'{"model":"gpt-5","model":"o1-pro"}', b'{"model":"gpt-5","Model":"o1-pro"}'):
        assert refusal(desk.ask(SPENDING[case], body, method=method)) in (NOT_ALLOWED, BAD)


def test_a_model_on_the_list_passes_where_the_body_says_so() -> None:
    desk = Desk(models=["gpt-5*", "gemini-*", "whisper-1"])
    body = {"model": "gpt-5-mini"}
    for case in ("chat", "images", "speech", "video", "fine-tuning", "unknown", "messages", "ollama"):
        assert desk.ask(SPENDING[case], body) is None, case
    assert desk.ask("/v1beta/models/gemini-2.5-flash:generateContent", {"contents": []}) is None
    form = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n--b--\r\n'
    assert desk.ask("/v1/audio/transcriptions", form, content_type=FORM) is None
    assert refusal(desk.ask("/v1beta/models/imagen-4:predict", body)) == NOT_ALLOWED
    assert refusal(desk.ask("/az/openai/deployments/other/chat/completions", body)) == NOT_ALLOWED


def test_models_to_fall_back_to_must_be_on_the_list_too() -> None:
    desk = Desk(models=["gpt-5*"])
    assert desk.ask("/v1/chat/completions", {"model": "gpt-5", "models": ["gpt-5-mini"]}) is None
    assert refusal(desk.ask("/v1/chat/completions", {"model": "gpt-5", "models": ["o1-pro"]})) == NOT_ALLOWED
    assert refusal(desk.ask("/v1/chat/completions", {"model": "gpt-5", "models": [{}]})) == NOT_ALLOWED


@pytest.mark.parametrize("case", FREE)
def test_reading_and_listing_stay_free_of_limits(case: str) -> None:
    method, path = FREE[case]
    assert Desk(models=["gpt-5*"], budgets=[BUDGET]).ask(path, b"\x00" * 3_000_000, method=method) is None


@pytest.mark.parametrize("case", ["batches", "fine-tuning", "secrets", "calls", "unknown", "message batches"])
def test_what_nobody_can_bound_is_refused_under_a_hard_budget_unless_it_says_otherwise(case: str) -> None:
    body = {"model": "gpt-5"}
    answer = Desk(budgets=[BUDGET]).ask(SPENDING[case], body)
    assert refusal(answer) == NOT_ALLOWED
    assert isinstance(answer, Refusal)
    assert "unbounded: allow" in answer.message
    assert refusal(Desk(shared=True).ask(SPENDING[case], body, known=False)) == NOT_ALLOWED
    allowed = reserve(Desk(budgets=[{**BUDGET, "unbounded": "allow"}]).ask(SPENDING[case], body))
    assert not allowed.is_bounded
    assert not reserve(Desk(budgets=[{**BUDGET, "hard": False}]).ask(SPENDING[case], body)).is_bounded
    other = [{**BUDGET, "models": ["o1*"]}]
    assert not isinstance(Desk(budgets=other).ask(SPENDING[case], body), Refusal)


def test_a_rate_needs_no_body_but_of_what_is_billed_by_the_token() -> None:
    desk = Desk(rate_limits={"requests_per_minute": 5})
    for case in ("transcription", "batches", "unknown", "video"):
        found = reserve(desk.ask(SPENDING[case], b"\x00" * 30_000_000))
        assert (found.lines, len(found.rates), found.input_bytes) == ((), 1, 30_000_000)
    assert refusal(desk.ask(SPENDING["chat"], b"not JSON")) == BAD


def test_a_free_upstream_has_nothing_to_bound() -> None:
    assert reserve(Desk(budgets=[BUDGET]).ask("/llama/api/unheard-of", {"model": "m"})).is_free


@pytest.mark.parametrize(
    ("path", "body", "want"),
    [
        ("/v1/chat/completions", {"model": "m", "n": 3, "max_tokens": 7, "stream": True}, ("chat", 7, 3, True)),
        ("/anthropic/v1/messages", {"model": "m", "max_tokens": 7, "stream": True}, ("messages", 7, 1, True)),
        (
            "/v1beta/models/m:streamGenerateContent",
            {"generationConfig": {"maxOutputTokens": 7, "candidateCount": 3}},
            ("generate_content", 7, 3, True),
        ),
        ("/rock/model/m/converse", {"inferenceConfig": {"maxTokens": 7}}, ("converse", 7, 1, False)),
        ("/az/openai/deployments/m/chat/completions", {"max_tokens": 7}, ("chat", 7, 1, False)),
        ("/v1/images/generations", {"model": "m", "n": 2, "stream": True}, ("images_generate", 8192, 2, False)),
    ],
)
def test_every_dialect_reserves_what_its_body_allows(path: str, body: object, want: tuple[object, ...]) -> None:
    sliced = reserve(Desk(budgets=[{**BUDGET, "streams": "sliced"}]).ask(path, body))
    assert (sliced.endpoint, sliced.max_output_tokens, sliced.choices, sliced.is_sliced) == want
    found = reserve(Desk(budgets=[BUDGET]).ask(path, body))
    assert not found.is_sliced
    assert (found.model, found.is_bounded, len(found.lines)) == ("m", True, 1)


@pytest.mark.parametrize("case", ["chat", "messages", "images", "speech", "transcription", "embeddings"])
def test_under_a_budget_a_body_that_cannot_be_read_is_a_400(case: str) -> None:
    desk = Desk(budgets=[BUDGET])
    for body in (gzip.compress(b'{"model":"gpt-5"}'), b"[]", b'{"x":"\\ud800' + b"y" * 300_000 + b'"}'):
        assert refusal(desk.ask(SPENDING[case], body)) == BAD


def test_a_body_with_a_crowd_of_members_is_a_400_under_limits_only() -> None:
    crowd = {"model": "gpt-5", **{f"k{number}": 1 for number in range(1000)}}
    assert refusal(Desk(budgets=[BUDGET]).ask(SPENDING["chat"], crowd)) == BAD
    assert Desk().ask(SPENDING["chat"], crowd) is None


@pytest.mark.parametrize(
    ("streams", "is_sliced", "holds_limited"),
    [("auto", True, True), ("whole", False, True), ("sliced", True, False)],
)
def test_a_session_holds_what_its_budgets_want_held(streams: str, is_sliced: bool, holds_limited: bool) -> None:
    desk = Desk(budgets=[{**BUDGET, "streams": streams}])
    route = desk.router.find(b"/v1/responses", "GET")
    assert route is not None
    needed = Needed((("gpt-5", None),), 1, 1, 1, 0)
    policy = desk.keys.find(KEY.encode())
    message = desk.gate.cover("x", policy, route, user=None, needed=needed, ahead=(0, 0), now_ms=NOW_MS)
    assert message is not None
    assert (message.is_sliced, message.holds_limited) == (is_sliced, holds_limited)


def test_a_method_in_a_header_is_refused_under_limits_only() -> None:
    disguised = f"{JSON}\r\nX-HTTP-Method-Override: POST"
    path = "/v1beta/models/gemini-2.5-pro:generateContent"
    for key in ({"models": ["gpt-5*"]}, {"budgets": [BUDGET]}):
        assert refusal(Desk(**key).ask(path, {}, method="GET", content_type=disguised)) == BAD
    assert Desk().ask(path, {}, method="GET", content_type=disguised) is None


@pytest.mark.parametrize(
    ("query", "header"),
    [
        ("$httpMethod=POST&$req=%7B%7D", ""),
        ("alt=sse&%24httpMethod=POST", ""),
        ("$httpHeaders=X-HTTP-Method-Override:POST", ""),
        ("$ct=application/json", ""),
        ("_method=POST", ""),
        ("X-HTTP-Method-Override=POST", ""),
        ("alt=sse", "X_HTTP_Method-Override: POST"),
    ],
)
def test_a_method_in_the_query_or_in_disguise_is_no_way_round_a_limit(query: str, header: str) -> None:
    content_type = f"{JSON}\r\n{header}" if header else JSON
    path = f"/v1beta/models/gemini-2.5-pro:generateContent?{query}"
    for key in ({"models": ["gpt-5*"]}, {"budgets": [BUDGET]}):
        assert refusal(Desk(**key).ask(path, {}, method="GET", content_type=content_type)) == BAD
    assert Desk().ask(path, {}, method="GET", content_type=content_type) is None


BILLED = {
    "openai": ("chat/completions", "responses", "embeddings", "images/edits", "audio/speech", "batches", "videos"),
    "anthropic": ("messages", "messages/batches"),
    "gemini": (
        "models/g:generateContent",
        "models/g:streamGenerateContent",
        "models/g:predict",
        "models/g:embedContent",
    ),
    "ollama": ("api/chat", "api/generate", "api/embed"),
    "bedrock": ("model/m/converse", "model/m/invoke-with-response-stream"),
}


@pytest.mark.parametrize("wire", DIALECTS_OF)
def test_no_path_of_a_dialect_passes_for_a_free_one_of_another(wire: str) -> None:
    """An upstream may serve any of its dialects: what one bills, no other may call free."""
    for dialect in DIALECTS_OF[wire]:
        for path in BILLED[dialect]:
            found = find_operation(wire, "POST", f"/v1/{path}")
            assert found is not None
            assert found.billing != "nothing", (path, found)


def test_two_content_types_leave_nothing_to_be_sure_of() -> None:
    desk = Desk(budgets=[BUDGET])
    twice = f"{JSON}\r\nContent-Type: {FORM}"
    assert refusal(desk.ask("/v1/audio/transcriptions", {"model": "m"}, content_type=twice)) == BAD


def test_what_bytes_do_not_bound_is_added_and_does_not_count_for_the_rate() -> None:
    body = {"model": "m", "previous_response_id": "r", "tools": [{"type": "web_search"}], "max_tool_calls": 4}
    found = reserve(Desk(budgets=[BUDGET]).ask("/v1/responses", body))
    assert (found.unseen_tokens, found.tool_calls) == (1_050_000, 4)
    assert found.input_bytes == len(json.dumps(body))


def test_sound_is_no_text_and_its_length_is_bounded() -> None:
    sound = b"\x00" * 2_000_000
    form = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n%b\r\n'
        b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n--b--\r\n' % sound
    )
    found = reserve(Desk(budgets=[BUDGET]).ask("/v1/audio/transcriptions", form, content_type=FORM))
    assert (found.model, found.unseen_tokens, found.is_bounded) == ("whisper-1", 40_000, True)
    assert found.units == (("input_audio_ms", len(form)),)
    assert found.input_bytes == len(form) - len(sound)


def test_models_to_fall_back_to_leave_no_bound() -> None:
    body = {"model": "gpt-5", "models": ["o1-pro"]}
    assert not reserve(Desk(budgets=[BUDGET]).ask("/v1/chat/completions", body)).is_bounded


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/anthropic/v1/messages", "/v1/videos", "/v1/images/generations"]
)
def test_models_without_a_price_are_denied_on_every_billed_path(path: str) -> None:
    strict = Desk(budgets=[BUDGET], top={"pricing": {"unknown_model": "deny"}})
    assert reserve(strict.ask(path, {"model": "nobodys"})).deny_unpriced
    assert not reserve(Desk(budgets=[BUDGET]).ask(path, {"model": "nobodys"})).deny_unpriced


def test_a_key_without_limits_never_pays_for_them() -> None:
    desk = Desk()
    for path in SPENDING.values():
        route = desk.router.find(path.encode(), "POST")
        assert route is not None
        policy = desk.keys.find(KEY.encode())
        head = read_request_head(f"POST {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert desk.gate.window_for(policy, route, b"POST") in (0, 1024 * 1024)
        reads = b'{"model":"m","stream":true}'
        is_chat = path.endswith("chat/completions")
        assert (desk.gate.read(policy, route, head, reads) is not None) is is_chat
        assert desk.gate.read(policy, route, head, b'{"model":"m"}') is None
        assert desk.ask(path, b"not even JSON") is None
