"""Which upstream a path means, and which spellings are refused."""

from __future__ import annotations

import pytest

from proxy.config import parse_config
from proxy.errors import BadRequest
from proxy.gateway.routing import Router, build_targets

CONFIG = parse_config("upstreams: {local: {base_url: 'http://[::1]:8000/api/v1', free: true}}")


@pytest.fixture
def router() -> Router:
    return Router(build_targets(CONFIG), "openai")


@pytest.mark.parametrize(
    ("target", "upstream", "path", "endpoint"),
    [
        (b"/v1/chat/completions", "openai", b"/v1/chat/completions", "chat"),
        (b"/v1/responses/resp_1?stream=true", "openai", b"/v1/responses/resp_1?stream=true", None),
        (b"/openai/chat/completions", "openai", b"/v1/chat/completions", "chat"),
        (b"/openai/v1/embeddings", "openai", b"/v1/embeddings", "embeddings"),
        (b"/local/completions", "local", b"/api/v1/completions", "completions"),
        (b"/anthropic/v1/messages", "anthropic", b"/v1/messages", "messages"),
        (b"/v1beta/models/g:generateContent", "gemini", b"/v1beta/models/g:generateContent", "generate_content"),
        (b"/v1/unheard/of", "openai", b"/v1/unheard/of", None),
        (b"/v1/chat/completions/", "openai", b"/v1/chat/completions/", "chat"),
        (b"/v1/ch%61t/Completions", "openai", b"/v1/ch%61t/Completions", "chat"),
    ],
)
def test_a_path_leads_to_its_upstream(
    router: Router, target: bytes, upstream: str, path: bytes, endpoint: str | None
) -> None:
    route = router.find(target, "POST")
    assert route is not None
    assert (route.target.name, route.upstream_path) == (upstream, path)
    assert (route.operation and route.operation.endpoint) == endpoint


def test_the_anthropic_header_decides_for_v1(router: Router) -> None:
    route = router.find(b"/v1/messages", "GET", is_anthropic=True)
    assert route is not None
    assert (route.target.name, route.upstream_path) == ("anthropic", b"/v1/messages")


def test_tags_are_taken_off_the_path(router: Router) -> None:
    route = router.find(b"/t/feature:search/t/env:a%20b/v1/models", "GET")
    assert route is not None
    assert route.tags == (("feature", "search"), ("env", "a b"))
    assert route.upstream_path == b"/v1/models"


def test_nobody_answers_for_an_unknown_name(router: Router) -> None:
    assert router.find(b"/nobody/v1/models", "GET") is None
    assert router.find(b"/", "GET") is None


def test_a_key_in_the_query_is_forwarded_and_not_recorded(router: Router) -> None:
    route = router.find(b"/v1beta/models?key=secret&alt=sse", "GET")
    assert route is not None
    assert route.upstream_path == b"/v1beta/models?key=secret&alt=sse"
    assert route.recorded_path == "/v1beta/models?key=***&alt=sse"


def test_an_ipv6_host_is_written_in_brackets(router: Router) -> None:
    route = router.find(b"/local/models", "GET")
    assert route is not None
    assert route.target.host_header == b"[::1]:8000"
    assert route.target.is_free


@pytest.mark.parametrize(
    "target",
    [
        b"/v1/../admin",
        b"/v1/./x",
        b"/v1/..",
        b"//v1/x",
        b"/v1//x",
        b"/v1/%2e%2e/x",
        b"/v1/%2E./x",
        b"/v1/a%2fb",
        b"/v1/a%5cb",
        b"/v1/a\\b",
        b"/v1/a%00",
        b"/v1/a%0d%0aX: y",
        b"/v1/a;b",
        b"/v1/%252e",
        b"/v1/%zz",
        b"/t/nocolon/v1/x",
    ],
)
def test_a_path_that_is_not_in_normal_form_is_refused(router: Router, target: bytes) -> None:
    with pytest.raises(BadRequest):
        router.find(target, "POST")
