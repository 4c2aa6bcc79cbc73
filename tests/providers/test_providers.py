from __future__ import annotations

import re
from datetime import date

import pytest
from genai_prices import data_snapshot

from proxy.config.schema import Upstream
from proxy.providers import GENERIC, PROVIDERS, Provider, row_for

ROWS = pytest.mark.parametrize("row", PROVIDERS.values(), ids=list(PROVIDERS))


def test_the_providers_that_were_promised_are_there() -> None:
    promised = (
        "openai anthropic gemini groq deepseek mistral openrouter xai together fireworks perplexity cerebras "
        "azure bedrock vertex ollama vllm lmstudio llamacpp"
    )
    assert list(PROVIDERS) == promised.split()


@ROWS
def test_a_row_could_stand_in_the_configuration(row: Provider) -> None:
    upstream = Upstream.model_validate(
        {
            "base_url": row.base_url.replace("{region}", "x") if row.base_url else None,
            "region": row.default_region,
            "wire": row.wire,
            "auth": row.auth,
            "include_usage": row.include_usage,
            "provider": row.price_id,
        }
    )
    assert upstream.wire == row.wire
    assert re.fullmatch(r"[a-z0-9]+", row.name)


@ROWS
def test_a_price_id_names_the_provider_that_answers_at_that_address(row: Provider) -> None:
    priced = {provider.id: provider for provider in data_snapshot.get_snapshot().providers}
    if row.price_id is None:
        assert row.is_local
    else:
        where = row.base_url or "https://resource.openai.azure.com"
        assert re.match(priced[row.price_id].api_pattern, where.replace("{region}", row.default_region or ""))


@ROWS
def test_a_key_travels_in_the_clear_only_on_the_operators_own_machine(row: Provider) -> None:
    assert row.base_url is None or row.base_url.startswith("http://127.0.0.1:" if row.is_local else "https://")


@ROWS
def test_usage_is_asked_for_only_on_the_wire_that_has_the_option(row: Provider) -> None:
    assert row.include_usage == "never" or row.wire in ("openai", "azure", "ollama")


@ROWS
def test_a_row_says_where_it_comes_from_and_when(row: Provider) -> None:
    assert row.source
    assert date(2026, 1, 1) < date.fromisoformat(row.seen) < date(2100, 1, 1)


def test_no_row_points_at_our_own_ports_and_no_two_at_the_same_place() -> None:
    addresses = [row.base_url or row.name for row in PROVIDERS.values()]
    assert len(set(addresses)) == len(addresses)
    assert not any(re.search(r"127\.0\.0\.1:(8080|8081|9999)\b", address) for address in addresses)


def test_an_upstream_that_only_the_configuration_knows_is_taken_for_what_its_wire_says() -> None:
    assert row_for("house", None) == GENERIC
    assert row_for("house", "openai").auth == "bearer"
    claude = row_for("claude", "anthropic")
    assert (claude.auth, claude.include_usage, claude.price_id, claude.base_url) == ("x-api-key", "never", None, None)
    eu = row_for("eu", "bedrock")
    assert (eu.price_id, eu.base_url) == ("aws", "https://bedrock-runtime.{region}.amazonaws.com")


def test_a_known_provider_on_another_wire_keeps_its_address_and_its_prices() -> None:
    row = row_for("deepseek", "anthropic")
    assert (row.auth, row.base_url, row.price_id) == ("x-api-key", "https://api.deepseek.com", "deepseek")
    assert row_for("deepseek", "openai") is row_for("deepseek", None) is PROVIDERS["deepseek"]
