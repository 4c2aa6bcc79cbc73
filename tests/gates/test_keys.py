from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.schema import Key
from proxy.errors import StoreError
from proxy.gates.globs import Globs
from proxy.gates.keys import DynamicKey, KeyRing, decode_snapshot, digest_of, encode_snapshot, policy_of
from proxy.reservations import RateRule
from proxy.secrets import Secret

PEPPER = Secret(b"p" * 32)
SECRET = "gl-0123456789abcdef"


def key(**fields: Any) -> Key:
    return Key.model_validate({"name": "search", "key": SECRET} | fields)


def made(**fields: Any) -> DynamicKey:
    key = DynamicKey(name="made", digest=digest_of(b"gl-made-at-run-time", PEPPER).hex(), created_ms=1)
    return msgspec.structs.replace(key, **fields)


def test_a_key_is_found_by_its_secret_alone() -> None:
    ring = KeyRing([key()], [], PEPPER)
    found = ring.find(SECRET.encode())
    assert found is not None
    assert (found.name, found.is_dynamic) == ("search", False)


@pytest.mark.parametrize(
    "credential",
    [
        None,
        b"",
        b" ",
        SECRET[:-1].encode(),
        SECRET.encode() + b" ",
        SECRET.encode() + b"\x00",
        SECRET.encode() + b"\n",
        SECRET.upper().encode(),
        b"\xef\xbc\x90" + SECRET.encode(),
        SECRET.encode() * 1000,
        b"' OR 1=1 --",
        b"%",
        digest_of(SECRET.encode(), PEPPER),
        digest_of(SECRET.encode(), PEPPER).hex().encode(),
    ],
)
def test_anything_else_is_nobodys_key(credential: bytes | None) -> None:
    assert KeyRing([key()], [made()], PEPPER).find(credential) is None


@given(st.binary(max_size=100))
def test_no_other_bytes_are_a_key(credential: bytes) -> None:
    assert KeyRing([key()], [], PEPPER).find(credential) is None


def test_the_ring_holds_no_secret_and_another_pepper_opens_nothing() -> None:
    ring = KeyRing([key()], [], PEPPER)
    assert SECRET not in repr(vars(ring))
    moved = KeyRing([], [made(digest=digest_of(SECRET.encode(), PEPPER).hex())], Secret(b"another"))
    assert moved.find(SECRET.encode()) is None


def test_a_revoked_key_is_unknown_in_the_next_ring() -> None:
    secret = b"gl-made-at-run-time"
    found = KeyRing([], [made()], PEPPER).find(secret)
    assert found is not None
    assert (found.name, found.is_dynamic) == ("made", True)
    assert KeyRing([], [made(revoked=True)], PEPPER).find(secret) is None


def test_a_configured_key_wins_over_a_dynamic_one_with_its_secret() -> None:
    ring = KeyRing([key()], [made(digest=digest_of(SECRET.encode(), PEPPER).hex())], PEPPER)
    found = ring.find(SECRET.encode())
    assert found is not None
    assert found.name == "search"
    assert len(ring) == 1


def test_a_policy_says_what_the_configuration_says() -> None:
    policy = policy_of(
        key(
            upstreams=["openai"],
            models=["gpt-5*"],
            budgets=[{"limit_usd": 5, "window": "day"}],
            rate_limits={"requests_per_minute": 60, "tokens_per_minute": 1000, "concurrent": 3},
            tags={"team": "search"},
            trust_identity=True,
        )
    )
    assert policy.allows_upstream("openai")
    assert not policy.allows_upstream("anthropic")
    assert policy.rates == (RateRule("search", 60, 1000, 3),)
    assert [template.identity for template in policy.budgets] == ["search/day"]
    assert dict(policy.tags) == {"team": "search"}
    assert policy.trust_identity
    assert policy.is_gated


def test_a_key_without_rules_allows_everything_and_is_not_gated() -> None:
    policy = policy_of(key())
    assert policy.allows_upstream("anything")
    assert policy.allows_model("anything")
    assert policy.allows_model(None)
    assert not policy.is_gated
    assert policy.rates == ()


@pytest.mark.parametrize(
    ("model", "is_allowed"),
    [
        ("gpt-5-mini", True),
        ("GPT-5", True),
        ("o3", True),
        ("O3", True),
        ("gpt-4o", False),
        (" gpt-5", False),
        ("gpt-5\nx", True),
        ("xgpt-5", False),
        ("o3-pro", False),
        ("", False),
        (None, False),
    ],
)
def test_models_are_matched_as_a_whole_and_without_case(model: str | None, is_allowed: bool) -> None:
    assert policy_of(key(models=["gpt-5*", "O3"])).allows_model(model) is is_allowed


def test_a_pattern_full_of_stars_is_no_attack() -> None:
    assert not Globs(["*a" * 50 + "b"]).match("a" * 20_000)


def test_a_ticket_holds_for_one_key_one_text_and_its_time() -> None:
    ring = KeyRing([key(name="a.b"), key(name="other", key=SECRET + "0")], [made()], PEPPER)
    ticket = ring.ticket("a.b", b"openai /v1/x", 100)
    found = ring.redeem(ticket, b"openai /v1/x", 100)
    assert found is not None
    assert found.name == "a.b"
    assert ring.redeem(ticket, b"openai /v1/x", 101) is None
    assert ring.redeem(ticket, b"openai /v1/y", 100) is None
    assert ring.redeem(ticket.replace("100.", "101.", 1), b"openai /v1/x", 101) is None
    assert ring.redeem(ticket.replace("a.b", "other", 1), b"openai /v1/x", 100) is None
    assert KeyRing([key(name="a.b")], [], Secret(b"another")).redeem(ticket, b"openai /v1/x", 100) is None
    assert KeyRing([], [made()], PEPPER).redeem(ticket, b"openai /v1/x", 100) is None, "the key has been taken away"


@pytest.mark.parametrize("ticket", ["", ".", "..", "100.search", "100.search.", "x.search.0", "100.search.\u00e9"])
def test_what_is_no_ticket_opens_nothing(ticket: str) -> None:
    assert KeyRing([key()], [], PEPPER).redeem(ticket, b"", 0) is None


def test_a_snapshot_round_trips() -> None:
    keys = (
        made(
            budgets=({"limit_usd": "2.5", "window": "day", "models": ["*-pro"]},),
            rate_limits={"requests_per_minute": 60},
            tags={"a": "b"},
            models=("gpt-5*",),
            upstreams=("openai",),
            trust_identity=True,
        ),
        made(name="gone", revoked=True),
    )
    assert decode_snapshot(encode_snapshot(keys)) == keys
    found = KeyRing([], decode_snapshot(encode_snapshot(keys)), PEPPER).find(b"gl-made-at-run-time")
    assert found is not None
    assert [template.limit_nano_usd for template in found.budgets] == [2_500_000_000]
    assert found.rates == (RateRule("made", 60),)
    assert (found.upstreams, found.models, found.trust_identity) == (("openai",), Globs(["GPT-5*"]), True)
    assert found.models != Globs(["gpt-5"])
    assert dict(found.tags) == {"a": "b"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"version":2,"keys":[]}',
        b'{"version":1,"keys":[{"name":"a","digest":"zz","created_ms":1}]}',
        b'{"version":1,"keys":[{"name":"a","digest":"00","created_ms":1}]}',
        b'{"version":1,"keys":' + b"[" * 100_000,
        b'{"version":1,"keys":[{"name":"\xff"}]}',
    ],
)
def test_a_broken_snapshot_is_one_clear_error(data: bytes) -> None:
    with pytest.raises(StoreError, match=r"^(the list of dynamic keys|key a: its digest) "):
        decode_snapshot(data)


def test_a_dynamic_key_with_impossible_budgets_is_a_clear_error() -> None:
    with pytest.raises(StoreError, match="made"):
        KeyRing([], [made(budgets=({"limit_usd": -1, "window": "day"},))], PEPPER)
