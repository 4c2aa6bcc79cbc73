from __future__ import annotations

import re
from datetime import date

import pytest
from genai_prices import data_snapshot

from proxy.config.schema import Upstream
from proxy.providers import PROVIDERS, Provider

ROWS = pytest.mark.parametrize("row", PROVIDERS.values(), ids=list(PROVIDERS))


def test_the_providers_that_were_promised_are_there() -> None:
    promised = (
        "openai anthropic gemini groq deepseek mistral openrouter xai together fireworks perplexity cerebras "
        "ollama vllm lmstudio llamacpp"
    )
    assert list(PROVIDERS) == promised.split()


@ROWS
def test_a_row_could_stand_in_the_configuration(row: Provider) -> None:
    upstream = Upstream.model_validate(
        {
            "base_url": row.base_url,
            "wire": row.wire,
            "auth": row.auth,
            "include_usage": row.include_usage,
            "provider": row.price_id,
        }
    )
    assert upstream.base_url == row.base_url
    assert re.fullmatch(r"[a-z0-9]+", row.name)


@ROWS
def test_a_price_id_names_the_provider_that_answers_at_that_address(row: Provider) -> None:
    priced = {provider.id: provider for provider in data_snapshot.get_snapshot().providers}
    if row.price_id is None:
        assert row.is_local
    else:
        assert re.match(priced[row.price_id].api_pattern, row.base_url)


@ROWS
def test_a_key_travels_in_the_clear_only_on_the_operators_own_machine(row: Provider) -> None:
    assert row.base_url.startswith("http://127.0.0.1:" if row.is_local else "https://")


@ROWS
def test_usage_is_asked_for_only_on_the_wire_that_has_the_option(row: Provider) -> None:
    assert row.include_usage == "never" or row.wire == "openai"


@ROWS
def test_a_row_says_where_it_comes_from_and_when(row: Provider) -> None:
    assert row.source
    assert date(2026, 1, 1) < date.fromisoformat(row.seen) < date(2100, 1, 1)


def test_no_row_points_at_our_own_ports_and_no_two_at_the_same_place() -> None:
    addresses = [row.base_url for row in PROVIDERS.values()]
    assert len(set(addresses)) == len(addresses)
    assert not any(re.search(r"127\.0\.0\.1:(8080|8081|9999)\b", address) for address in addresses)
