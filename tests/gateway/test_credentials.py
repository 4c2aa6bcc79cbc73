"""Six places in which keys arrive: each is looked at, none hides another, and none leaves where a key is lent."""

from __future__ import annotations

import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import Config, parse_config
from proxy.framing import RequestHead, read_request_head
from proxy.gates.budgets import Budgets
from proxy.gates.keys import KeyRing
from proxy.gateway.credentials import (
    credential_line,
    is_signed,
    mask_headers,
    mask_query,
    read_credentials,
    recorded_headers,
    target_without_credentials,
)
from proxy.gateway.gate import Gate
from proxy.gateway.opening import Opening, Openings
from proxy.gateway.routing import Router, build_targets
from proxy.secrets import Secret

KEY = b"sk-glassline-0123456789abcdef"
LENT = b"sk-of-the-provider-0123456789"
LENDING = parse_config(
    f"""
auth: virtual
upstreams:
  openai: {{api_key: {LENT.decode()}}}
  gemini: {{api_key: {LENT.decode()}}}
  azure: {{api_key: {LENT.decode()}, base_url: "https://r.openai.azure.com"}}
keys:
  - {{name: app, key: {KEY.decode()}}}
  - {{name: other, key: sk-glassline-other-0123456789}}
"""
)


def head_of(*lines: bytes, target: bytes = b"/v1/chat/completions") -> RequestHead:
    return read_request_head(
        b"POST %b HTTP/1.1\r\nHost: a\r\n%b\r\n" % (target, b"".join(b"%b\r\n" % line for line in lines))
    )


def opened(*lines: bytes, target: bytes = b"/v1/chat/completions", config: Config = LENDING) -> Opening:
    gate = Gate(config, KeyRing(config.keys, (), Secret(b"p" * 32)), Budgets(), owner="test")
    openings = Openings(gate, Router(build_targets(config), "openai"), config.limits)
    head = b"POST %b HTTP/1.1\r\nHost: a\r\n%b\r\n" % (target, b"".join(b"%b\r\n" % line for line in lines))
    return openings.find(head)[0]


PLACES = {
    "bearer": ((b"Authorization: Bearer " + KEY,), b""),
    "bearer in lower case, after a tab": ((b"authorization: bearer\t " + KEY,), b""),
    "no scheme": ((b"Authorization: " + KEY,), b""),
    "another scheme": ((b"Authorization: Token " + KEY,), b""),
    "basic, as password": ((b"Authorization: Basic " + base64.b64encode(b"user:" + KEY),), b""),
    "basic, as user": ((b"Authorization: Basic " + base64.b64encode(KEY + b":"),), b""),
    "basic, without padding": ((b"Authorization: Basic " + base64.b64encode(b"u:" + KEY).rstrip(b"="),), b""),
    "basic, as URLs have it": ((b"Authorization: Basic " + base64.urlsafe_b64encode(b"\xff\xfe?>:" + KEY),), b""),
    "before more": ((b"Authorization: Bearer %b junk" % KEY,), b""),
    "in a list": ((b"x-api-key: junk, " + KEY,), b""),
    "access key of a signature": (
        (b"Authorization: AWS4-HMAC-SHA256 Credential=%b/20261120/us-east-1/bedrock/aws4_request, Signature=00" % KEY,),
        b"",
    ),
    "session token of a signature": ((b"X-Amz-Security-Token: " + KEY,), b""),
    "x-api-key": ((b"x-api-key: " + KEY,), b""),
    "the second x-api-key": ((b"x-api-key: junk", b"X-Api-Key: " + KEY), b""),
    "api-key": ((b"api-key: " + KEY,), b""),
    "x-goog-api-key": ((b"x-goog-api-key: " + KEY,), b""),
    "beside junk": ((b"Authorization: Bearer junk", b"x-goog-api-key: " + KEY), b""),
    "subprotocol": ((b"Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.%b, openai-beta.v1" % KEY,), b""),
    "query": ((), b"?a=1&key=" + KEY),
    "query, spelled oddly": ((), b"?k%65y=" + KEY.replace(b"-", b"%2D")),
    "query, twice": ((), b"?key=junk&key=" + KEY),
    "access token": ((), b"?access_token=" + KEY),
    "our own header": ((b"x-glassline-key: " + KEY,), b""),
    "Helicone-Auth": ((b"Helicone-Auth: Bearer " + KEY,), b""),
    "x-bf-vk": ((b"x-bf-vk: " + KEY,), b""),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("upstream", ["openai", "gemini", "azure"])
def test_a_key_in_any_place_names_the_caller_and_is_replaced_by_the_one_that_is_lent(place: str, upstream: str) -> None:
    lines, query = PLACES[place]
    opening = opened(*lines, b"cookie: k=" + KEY, b"x-y: z", target=b"/" + upstream.encode() + b"/v1/models" + query)
    assert opening.policy is not None
    assert opening.policy.name == "app"
    assert opening.refusal is None
    for sent in (opening.upstream_head, opening.identity_head):
        assert KEY not in sent
        assert KEY.replace(b"-", b"%2D") not in sent
        assert base64.b64encode(KEY + b":") not in sent
        assert sent.count(LENT) == 1
        assert b"junk" not in sent
        assert b"x-y: z\r\n" in sent
    assert opening.template is not None
    kept = opening.template.fill("id", 0, is_reserved=False, mutated=())
    assert KEY not in kept
    assert KEY.replace(b"-", b"%2D") not in kept


def test_a_lent_key_goes_in_the_scheme_that_the_upstream_wants() -> None:
    bearer = b"Authorization: Bearer " + KEY
    assert b"authorization: Bearer " + LENT in opened(bearer).upstream_head
    assert b"x-goog-api-key: " + LENT in opened(bearer, target=b"/gemini/v1beta/models").upstream_head
    assert b"api-key: " + LENT in opened(bearer, target=b"/azure/openai/v1/models").upstream_head
    assert credential_line("none", LENT) == b""


def test_other_subprotocols_and_query_fields_pass_when_a_key_is_taken_out_of_them() -> None:
    sent = opened(
        b"Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.%b, openai-beta.v1" % KEY,
        target=b"/v1/realtime?model=m&key=x&b=%20",
    ).upstream_head
    assert b"Sec-WebSocket-Protocol: realtime, openai-beta.v1\r\n" in sent
    assert sent.startswith(b"POST /v1/realtime?model=m&b=%20 HTTP/1.1\r\n")
    assert target_without_credentials(b"/x?key=1") == b"/x"
    assert target_without_credentials(b"/x?") == b"/x?"


def test_the_callers_own_key_passes_untouched_where_none_is_lent() -> None:
    lines = (b"Authorization: Bearer mine", b"Sec-WebSocket-Protocol: a,openai-insecure-api-key.mine")
    sent = opened(*lines, target=b"/v1/x?key=mine&&a", config=Config()).upstream_head
    assert sent == b"POST /v1/x?key=mine&&a HTTP/1.1\r\nHost: api.openai.com\r\n" + b"\r\n".join(lines) + b"\r\n"


def test_two_different_keys_are_refused_since_one_could_spend_under_the_others_name() -> None:
    refused = opened(b"Authorization: Bearer " + KEY, b"x-api-key: sk-glassline-other-0123456789")
    assert refused.refusal is not None
    assert "two different keys" in refused.refusal.message
    assert refused.upstream_head == b""
    assert opened(b"Authorization: Bearer " + KEY, b"x-api-key: " + KEY).policy is not None


def test_a_key_that_would_leave_within_the_path_is_refused() -> None:
    encoded = b"%%%02x" % KEY[0] + KEY[1:]
    for target in (
        b"/v1/files/" + KEY,
        b"/v1/files?after=" + KEY,
        b"/v1/files/" + encoded,
        b"/v1/files?after=" + encoded,
    ):
        refused = opened(b"Authorization: Bearer " + KEY, target=target)
        assert refused.refusal is not None
        assert "in the path" in refused.refusal.message
        assert refused.upstream_head == b""


def test_nothing_is_found_where_nothing_is_presented() -> None:
    assert read_credentials(head_of()) == ()
    assert read_credentials(head_of(b"Authorization:", b"x-api-key:", target=b"/?key=&key")) == ()
    assert read_credentials(head_of(b"Authorization: Basic !!!")) == (b"Basic !!!", b"Basic", b"!!!")
    assert len(read_credentials(head_of(b"x-api-key: " + b"a," * 4000))) < 20, "many words are not worth a digest each"


@pytest.mark.parametrize("filler", [b" ", b"\t", b"Credential=", b"Basic ", b",", b"AWS4-A "])
def test_a_header_made_to_be_slow_to_read_is_read_at_once(filler: bytes) -> None:
    hostile = (b"AWS4-A " + filler * 32_000)[:32_000]
    began = time.thread_time()
    read_credentials(RequestHead(b"GET", b"/", [(b"authorization", hostile)]))
    assert time.thread_time() - began < 0.1, "it took 5 seconds when blanks were matched in two ways"


def test_a_signature_is_told_from_a_bearer_key() -> None:
    assert is_signed(head_of(b"Authorization: AWS4-HMAC-SHA256 Credential=a/b"))
    assert not is_signed(head_of(b"Authorization: Bearer k"))


def test_what_is_recorded_shows_four_characters_of_a_long_secret_and_none_of_a_short_one() -> None:
    masked = dict(
        recorded_headers(
            [
                (b"Authorization", b"Bearer sk-abcdefghijklmnopqrstuvwxyz"),
                (b"api-key", b"short"),
                (b"X-Amz-Security-Token", b"t" * 30),
                (b"x-my-secret", b"s"),
                (b"Sec-WebSocket-Protocol", b"realtime, openai-insecure-api-key.k"),
                (b"helicone-fallbacks", b'[{"headers":{"Authorization":"Bearer k"}}]'),
                (b"Helicone-User-Id", b"ann"),
                (b"x-glassline-key", b"k"),
                (b"idempotency-key", b"seen"),
                (b"x-copy", b"a" + KEY),
            ],
            KEY,
        )
    )
    assert masked == {
        b"Authorization": b"Bearer ***wxyz",
        b"api-key": b"***",
        b"X-Amz-Security-Token": b"***tttt",
        b"x-my-secret": b"***",
        b"Sec-WebSocket-Protocol": b"realtime, openai-insecure-api-key.***",
        b"helicone-fallbacks": b'*** k"}}]'[:3] + b'"}}]',
        b"Helicone-User-Id": b"ann",
        b"idempotency-key": b"seen",
        b"x-copy": b"***cdef",
    }


@pytest.mark.parametrize(
    "name",
    [
        b"x_api_key",
        b"api_key",
        b"Ocp-Apim-Subscription-Key",
        b"x-functions-key",
        b"x-api-token",
        b"token",
        b"x-auth-key",
    ],
)
def test_a_key_in_a_header_that_nobody_asked_for_is_not_recorded(name: bytes) -> None:
    assert recorded_headers([(name, KEY)]) == ((name, b"***cdef"),)


@pytest.mark.parametrize(
    "said",
    [
        b"x-glassline-user: " + KEY,
        b"x-glassline-tags: key=" + KEY,
        b'x-litellm-spend-logs-metadata: {"user_api_key":"' + KEY + b'"}',
        b"baggage: user.id=" + KEY,
        b"x-agent-session-id: " + KEY,
        b"Sec-WebSocket-Protocol: realtime, mine." + KEY,
    ],
)
def test_the_callers_key_is_crossed_out_of_all_that_it_says(said: bytes) -> None:
    """Some name their users, sessions and tags by the key they have."""
    found = opened(said, b"Authorization: Bearer " + KEY, target=b"/t/k:" + KEY + b"/v1/chat/completions")
    assert found.template is not None
    begin = found.template.fill("id", 0, is_reserved=False, mutated=())
    assert b"***" in begin
    assert KEY not in begin
    assert KEY not in found.upstream_head


@pytest.mark.parametrize("line", [b"Authorization: Bearer ", b"x-api-key: ", b"x-glassline-key: "])
def test_a_key_that_was_revoked_goes_to_no_provider(line: bytes) -> None:
    revoked = b"gl-" + b"a" * 43
    found = opened(line + revoked, b"x-glassline-user: " + revoked, config=parse_config(""))
    assert found.refusal is not None
    assert found.refusal.code == "invalid_key"
    assert found.template is not None
    assert revoked not in found.template.fill("id", 0, is_reserved=False, mutated=())


def test_a_providers_key_that_begins_like_ours_passes() -> None:
    assert opened(b"Authorization: Bearer gl-" + b"a" * 40, config=parse_config("")).refusal is None


@pytest.mark.parametrize("token", [b"OpenAI-Insecure-API-Key.", b"mine."])
def test_a_key_within_another_subprotocol_stays_here(token: bytes) -> None:
    lines = (b"Authorization: Bearer " + KEY, b"Sec-WebSocket-Protocol: realtime, " + token + KEY)
    assert b"\r\nSec-WebSocket-Protocol: realtime\r\n" in opened(*lines).upstream_head


def test_long_heads_are_not_remembered_since_anybody_may_send_them() -> None:
    gate = Gate(LENDING, KeyRing(LENDING.keys, (), Secret(b"p" * 32)), Budgets(), owner="test")
    openings = Openings(gate, Router(build_targets(LENDING), "openai"), LENDING.limits)
    for line, is_kept in ((b"x: y", True), (b"x: " + b"y" * 10_000, False)):
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % line
        assert (openings.find(head)[0] is openings.find(head)[0]) is is_kept


def test_a_masked_query_keeps_all_but_the_secrets() -> None:
    assert mask_query(b"$key=s&oauth_token=s&%24key=s&x=y") == b"$key=***&oauth_token=***&%24key=***&x=y"
    assert mask_query(b"key=s&alt=sse&&b&API_KEY=s&k%65y=s&sig=s&key") == (
        b"key=***&alt=sse&&b&API_KEY=***&k%65y=***&sig=***&key"
    )


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_no_header_and_no_query_is_too_strange_to_be_read(value: bytes, query: bytes) -> None:
    head = RequestHead(b"GET", b"/?" + query, [(b"Authorization", value), (b"sec-websocket-protocol", value)])
    assert b"" not in read_credentials(head)
    assert len(mask_headers(head.headers)) == 2
    assert b"key=" not in target_without_credentials(b"/?key=" + query.partition(b"&")[0])
    mask_query(query)


def test_the_secret_in_an_address_that_an_answer_gives_is_not_recorded() -> None:
    given = [
        (b"Location", b"https://elsewhere/x?key=AIzaSyA-0123456789&y=1"),
        (b"x-goog-upload-url", b"https://upload/v1beta/files?upload_id=ABPnzm0123456789&upload_protocol=resumable"),
        (b"Content-Location", b"/x?y=1"),
    ]
    assert mask_headers(given) == (
        (b"Location", b"https://elsewhere/x?key=***&y=1"),
        (b"x-goog-upload-url", b"https://upload/v1beta/files?upload_id=***&upload_protocol=resumable"),
        (b"Content-Location", b"/x?y=1"),
    )
