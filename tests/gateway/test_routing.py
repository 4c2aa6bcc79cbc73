"""Which upstream a path means, and which spellings are refused."""

from __future__ import annotations

import pytest

from proxy.config import parse_config
from proxy.errors import BadRequest
from proxy.gateway.paths import speaker
from proxy.gateway.routing import Router, build_targets

CONFIG = parse_config(
    """
    upstreams:
      local: {base_url: 'http://[::1]:8000/api/v1', free: true}
      azure: {base_url: 'https://res.openai.azure.com'}
      foundry: {base_url: 'https://res.services.ai.azure.com/openai/v1', wire: azure}
      frankfurt: {wire: bedrock, region: eu-central-1}
      paris: {wire: vertex, region: europe-west9}
      den: {base_url: 'http://127.0.0.1:11434/v1', wire: ollama}
    """
)


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


@pytest.mark.parametrize(
    ("target", "upstream", "url"),
    [
        # What each SDK asks for when its base URL is the one in the comment. {us} is our root.
        (b"/v1/chat/completions", "openai", "https://api.openai.com/v1/chat/completions"),  # openai: {us}/v1
        (b"/openai/v1/responses", "openai", "https://api.openai.com/v1/responses"),  # openai: {us}/openai/v1
        (b"/openai/responses", "openai", "https://api.openai.com/v1/responses"),  # openai: {us}/openai
        (b"/anthropic/v1/messages", "anthropic", "https://api.anthropic.com/v1/messages"),  # anthropic: {us}/anthropic
        (
            b"/v1beta/models/g:generateContent",
            "gemini",
            "https://generativelanguage.googleapis.com/v1beta/models/g:generateContent",
        ),
        (
            b"/v1/models/g:generateContent",
            "gemini",
            "https://generativelanguage.googleapis.com/v1/models/g:generateContent",
        ),
        (
            b"/gemini/v1/files",
            "gemini",
            "https://generativelanguage.googleapis.com/v1/files",
        ),  # google-genai: {us}/gemini
        (b"/upload/v1/files", "gemini", "https://generativelanguage.googleapis.com/upload/v1/files"),
        (b"/upload/xyz", "gemini", "https://generativelanguage.googleapis.com/upload/xyz"),
        (
            b"/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent",
            "gemini",
            "https://generativelanguage.googleapis.com/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent",
        ),
        (
            b"/groq/openai/v1/chat/completions",
            "groq",
            "https://api.groq.com/openai/v1/chat/completions",
        ),  # groq: {us}/groq
        (b"/groq/chat/completions", "groq", "https://api.groq.com/openai/v1/chat/completions"),  # openai: {us}/groq
        (
            b"/groq/v1/chat/completions",
            "groq",
            "https://api.groq.com/openai/v1/chat/completions",
        ),  # openai: {us}/groq/v1
        (
            b"/mistral/v1/chat/completions",
            "mistral",
            "https://api.mistral.ai/v1/chat/completions",
        ),  # mistralai: {us}/mistral
        (b"/openrouter/api/v1/chat/completions", "openrouter", "https://openrouter.ai/api/v1/chat/completions"),
        (b"/openrouter/chat/completions", "openrouter", "https://openrouter.ai/api/v1/chat/completions"),
        (b"/fireworks/inference/v1/models", "fireworks", "https://api.fireworks.ai/inference/v1/models"),
        (b"/deepseek/v1/chat/completions", "deepseek", "https://api.deepseek.com/v1/chat/completions"),
        (b"/deepseek/anthropic/v1/messages", "deepseek", "https://api.deepseek.com/anthropic/v1/messages"),
        (b"/ollama/api/chat", "ollama", "http://127.0.0.1:11434/api/chat"),  # ollama: {us}/ollama
        (b"/ollama/v1/chat/completions", "ollama", "http://127.0.0.1:11434/v1/chat/completions"),
        (b"/ollama/chat/completions", "ollama", "http://127.0.0.1:11434/v1/chat/completions"),
        (b"/ollama/", "ollama", "http://127.0.0.1:11434/"),
        (b"/den/api/tags", "den", "http://127.0.0.1:11434/api/tags"),
        (b"/api/chat", "ollama", "http://127.0.0.1:11434/api/chat"),  # ollama: {us}
        (
            b"/openai/deployments/d/chat/completions?api-version=2025-01-01-preview",
            "azure",
            "https://res.openai.azure.com/openai/deployments/d/chat/completions?api-version=2025-01-01-preview",
        ),  # AzureOpenAI: {us}
        (b"/openai/responses?api-version=1", "azure", "https://res.openai.azure.com/openai/responses?api-version=1"),
        (
            b"/azure/openai/deployments/d/embeddings?api-version=1",
            "azure",
            "https://res.openai.azure.com/openai/deployments/d/embeddings?api-version=1",
        ),
        (b"/azure/openai/v1/responses", "azure", "https://res.openai.azure.com/openai/v1/responses"),
        (b"/azure/chat/completions", "azure", "https://res.openai.azure.com/openai/v1/chat/completions"),
        (b"/azure/v1/chat/completions", "azure", "https://res.openai.azure.com/openai/v1/chat/completions"),
        (
            b"/foundry/openai/deployments/d/chat/completions?api-version=1",
            "foundry",
            "https://res.services.ai.azure.com/openai/deployments/d/chat/completions?api-version=1",
        ),
        (b"/foundry/models", "foundry", "https://res.services.ai.azure.com/openai/v1/models"),
        (b"/foundry/anthropic/v1/messages", "foundry", "https://res.services.ai.azure.com/anthropic/v1/messages"),
        (
            b"/bedrock/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse",
            "bedrock",
            "https://bedrock-runtime.us-east-1.amazonaws.com/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse",
        ),  # boto3: {us}/bedrock
        (
            b"/model/amazon.nova-lite-v1%3A0/converse-stream",
            "bedrock",
            "https://bedrock-runtime.us-east-1.amazonaws.com/model/amazon.nova-lite-v1%3A0/converse-stream",
        ),
        (
            b"/frankfurt/model/arn%3Aaws%3Abedrock%3Aeu-central-1%3A123456789012%3Ainference-profile%2Feu.amazon.nova-lite-v1%3A0/converse",
            "frankfurt",
            "https://bedrock-runtime.eu-central-1.amazonaws.com/model/arn%3Aaws%3Abedrock%3Aeu-central-1%3A123456789012%3Ainference-profile%2Feu.amazon.nova-lite-v1%3A0/converse",
        ),
        (
            b"/vertex/v1beta1/projects/p/locations/global/publishers/google/models/g:generateContent",
            "vertex",
            "https://aiplatform.googleapis.com/v1beta1/projects/p/locations/global/publishers/google/models/g:generateContent",
        ),
        (
            b"/v1/projects/p/locations/global/publishers/anthropic/models/c:rawPredict",
            "vertex",
            "https://aiplatform.googleapis.com/v1/projects/p/locations/global/publishers/anthropic/models/c:rawPredict",
        ),
        (
            b"/paris/v1/projects/p/locations/europe-west9/x",
            "paris",
            "https://europe-west9-aiplatform.googleapis.com/v1/projects/p/locations/europe-west9/x",
        ),
        (
            b"/together/models/meta-llama%2FLlama-3.3-70B",
            "together",
            "https://api.together.xyz/v1/models/meta-llama%2FLlama-3.3-70B",
        ),
        (
            b"/vertex/v1/projects/p/locations/europe-west9/publishers/google/models/g:generateContent",
            "vertex",
            "https://europe-west9-aiplatform.googleapis.com/v1/projects/p/locations/europe-west9/publishers/google/models/g:generateContent",
        ),
        (
            b"/vertex/v1/projects/p/locations/evil.example/x",
            "vertex",
            "https://aiplatform.googleapis.com/v1/projects/p/locations/evil.example/x",
        ),
        (b"/v1/models/ft:gpt-4o-mini:acme::id", "openai", "https://api.openai.com/v1/models/ft:gpt-4o-mini:acme::id"),
        (b"/v1/projects/p/locations", "openai", "https://api.openai.com/v1/projects/p/locations"),
        (b"/local/api/v1/models", "local", "http://[::1]:8000/api/v1/models"),
        (b"/local/api/models", "local", "http://[::1]:8000/api/v1/api/models"),
        (b"/local", "local", "http://[::1]:8000/api/v1"),
    ],
)
def test_every_natural_base_url_leads_where_its_sdk_means(
    router: Router, target: bytes, upstream: str, url: str
) -> None:
    for prefix in (b"", b"/t/team:a/t/env:b"):
        route = router.find(prefix + target, "POST")
        assert route is not None
        origin = route.target.origin
        shown = f"{origin.scheme}://{route.target.host_header.decode()}{route.upstream_path.decode()}"
        assert (route.target.name, shown) == (upstream, url)
        # Whatever the upstream's addresses are, the front of this one is reached through the front of the client's.
        tail = route.upstream_path.decode().partition("?")[0].removeprefix(route.mounted)
        assert (prefix + target).decode().partition("?")[0] == route.mount + tail
        assert route.mounted.startswith(route.target.base_path)


def test_the_headers_of_an_sdk_decide_for_v1_and_for_nothing_else(router: Router) -> None:
    for headers, upstream in (
        ({b"anthropic-version": b"2026-10-21"}, "anthropic"),
        ({b"x-goog-api-key": b"k"}, "gemini"),
        ({b"x-goog-api-client": b"google-genai-sdk/3.4.0"}, "gemini"),
        ({}, "openai"),
    ):
        route = router.find(b"/v1/models", "GET", speaks=speaker(headers))
        named = router.find(b"/local/v1/models", "GET", speaks=speaker(headers))
        assert route is not None
        assert named is not None
        assert (route.target.name, named.target.name) == (upstream, "local")
    chat = router.find(b"/v1/chat/completions", "POST", speaks=speaker({b"x-goog-api-key": b"k"}))
    assert chat is not None
    assert chat.target.name == "openai"


@pytest.mark.parametrize(
    ("config", "may_reach", "is_free"),
    [
        ("{}", False, True),
        ("upstreams: {ollama: {allow_private: true}}", True, True),
        ("upstreams: {ollama: {base_url: 'http://10.0.0.5:11434'}}", False, False),
    ],
)
def test_a_local_server_costs_nothing_and_is_reached_when_the_operator_says_so(
    config: str, may_reach: bool, is_free: bool
) -> None:
    target = build_targets(parse_config(config))["ollama"]
    assert (target.origin.allow_private, target.is_free) == (may_reach, is_free)


def test_a_caller_cannot_make_up_regions_without_end(router: Router) -> None:
    hosts = set()
    for number in range(100):
        for front in ("us-east", "asia-south"):
            route = router.find(f"/vertex/v1/projects/p/locations/{front}{number}/x".encode(), "POST")
            assert route is not None
            hosts.add(route.target.host_header)
    assert 10 < len(hosts) <= 65


def test_azure_must_be_configured_before_it_takes_anything_from_openai() -> None:
    bare = Router(build_targets(parse_config("{}")), "openai")
    route = bare.find(b"/openai/deployments/d/chat/completions?api-version=1", "POST")
    assert route is not None
    assert route.target.name == "openai"
    assert bare.find(b"/azure/openai/v1/models", "GET") is None


def test_an_error_is_spelled_as_the_client_expects_it(router: Router) -> None:
    spelled = {
        b"/v1/chat/completions": "openai",
        b"/anthropic/v1/messages": "anthropic",
        b"/v1beta/models/g:generateContent": "gemini",
        b"/v1beta/openai/chat/completions": "openai",
        b"/azure/openai/v1/chat/completions": "azure",
        b"/foundry/anthropic/v1/messages": "anthropic",
        b"/bedrock/model/m/converse": "bedrock",
        b"/ollama/api/chat": "ollama",
        b"/ollama/v1/chat/completions": "openai",
        b"/vertex/v1/projects/p/locations/l/publishers/anthropic/models/c:rawPredict": "anthropic",
    }
    found = {target: router.find(target, "POST") for target in spelled}
    assert {target: route.envelope for target, route in found.items() if route is not None} == spelled


def test_tags_are_taken_off_the_path(router: Router) -> None:
    route = router.find(b"/t/feature:search/t/env:a%20b/v1/models", "GET")
    assert route is not None
    assert route.tags == (("feature", "search"), ("env", "a b"))
    assert route.upstream_path == b"/v1/models"


@pytest.mark.parametrize("tags", [b"/t/a:b" * 65, b"/t/%3Aa:b", b"/t/a%3Ab", b"/t/:b", b"/t/a:"])
def test_a_tag_without_a_name_and_tags_without_end_are_refused(router: Router, tags: bytes) -> None:
    with pytest.raises(BadRequest, match="a tag"):
        router.find(tags + b"/v1/models", "GET")


def test_long_paths_are_not_remembered_since_anybody_may_send_them(router: Router) -> None:
    for query, is_kept in ((b"a=b", True), (b"a" * 2000, False)):
        target = b"/v1/files?" + query
        assert (router.find(target, "GET") is router.find(target, "GET")) is is_kept


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
        b"/v1/models%2fx",
        b"/v1/models/a%2f..%2fb",
        b"/v1/models/a%2f%2fb",
        b"/v1/models/.%2fb",
        b"/v1/models/a%2fb%2fc",
        b"/model/arn%3Aaws%2F../converse",
        b"/model/arn%3Aaws%2F.%2Fx/converse",
        b"/model/arn%3Aaws%5C/converse",
    ],
)
def test_a_path_that_is_not_in_normal_form_is_refused(router: Router, target: bytes) -> None:
    with pytest.raises(BadRequest):
        router.find(target, "POST")
