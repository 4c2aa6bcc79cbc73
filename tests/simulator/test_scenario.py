"""Scenario files, strictness and keys: what the operator of a simulator chooses."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from proxy.errors import ConfigError
from proxy.simulator import Directives, Settings, create_app
from proxy.simulator.scenario import load_scenario, read_scenario
from tests.conftest import StartSimulator
from tests.harness import Simulator
from tests.simulator.raw import CHAT, STREAM, exchange

SCENARIO = """
- match: {model: gpt-4o-mini}
  probability: 0.5
  status: 429
  retry-after: 2
- match: {path: /v1/chat/*, model: gpt-4o*}
  tokens: 3
  no-usage: true
- match: {model: o3}
  ttft: 0.1..0.2
"""


def test_the_first_rule_that_matches_applies(start_simulator: StartSimulator, tmp_path: Path) -> None:
    file = tmp_path / "scenario.yaml"
    file.write_text(SCENARIO)
    port = start_simulator("--scenario", str(file)).port
    body = CHAT | {"model": "gpt-4o"}
    assert exchange(port, body).body.count(b"usage") == 0
    # What the request itself asks for is stronger than the scenario.
    assert b'"completion_tokens":5' in exchange(port, body, x_simulate="no-usage=false; tokens=5").body
    statuses = [exchange(port, CHAT | {"user": str(number)}).status for number in range(60)]
    assert 10 < statuses.count(429) < 50
    assert statuses == [exchange(port, CHAT | {"user": str(number)}).status for number in range(60)]


def test_a_retry_throws_the_dice_again(start_simulator: StartSimulator, tmp_path: Path) -> None:
    file = tmp_path / "scenario.yaml"
    file.write_text("- {probability: 0.5, status: 503}")
    port = start_simulator("--scenario", str(file)).port
    throws = [exchange(port, CHAT, x_stainless_retry_count=str(count)).status for count in range(20)]
    assert set(throws) == {200, 503}
    # Without a retry count the bytes are the same, and so is the answer.
    assert len({exchange(port, CHAT).status for _ in range(5)}) == 1


def test_probability_is_the_share_of_requests_it_names() -> None:
    scenario = read_scenario([{"probability": 0.25, "cut": 1}])
    hits = sum(scenario.directives_for("/v1/x", "", random.Random(seed)).cut == 1 for seed in range(4000))
    assert 900 < hits < 1100


@pytest.mark.parametrize(
    ("document", "mistake"),
    [
        ({"status": 500}, "list"),
        (["status"], "mapping"),
        ([{"stattus": 500}], "stattus"),
        ([{"probability": 2}], "probability"),
        ([{"match": {"modle": "x"}}], "match"),
        ([{"cut": -1}], "cut"),
    ],
)
def test_a_mistake_in_a_scenario_is_named(document: object, mistake: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_scenario(document)
    assert mistake in caught.value.lines[0]


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        read_scenario([{"cut": -1}, {"cut": 1}, {"fin": "x"}])
    assert [line.partition(":")[0] for line in caught.value.lines] == ["scenario[0]", "scenario[2]"]


def test_a_scenario_that_cannot_be_read_is_a_config_error(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("- {")
    for file in (broken, tmp_path / "missing.yaml"):
        with pytest.raises(ConfigError, match=file.name):
            create_app(Settings(scenario=file))


def test_an_empty_scenario_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "empty.yaml"
    file.write_text("")
    assert load_scenario(file).directives_for("/v1/x", "", random.Random(0)) == Directives()


def test_a_strict_provider_refuses_stream_options_as_mistral_does(start_simulator: StartSimulator) -> None:
    port = start_simulator("--reject-stream-options").port
    refused = exchange(port, STREAM | {"stream_options": {"include_usage": True}})
    assert refused.status == 422
    assert b'"type":"extra_forbidden"' in refused.body
    assert b'"loc":["body","stream_options"]' in refused.body
    assert exchange(port, STREAM).status == 200


def test_only_the_required_key_is_accepted(start_simulator: StartSimulator) -> None:
    port = start_simulator("--require-key", "sk-right-0123456789").port
    assert exchange(port, CHAT, authorization="Bearer sk-right-0123456789").status == 200
    for wrong in ({"authorization": "Bearer sk-wrong-0123456789"}, {}):
        refused = exchange(port, CHAT, **wrong)
        assert refused.status == 401
        assert b'"invalid_request_error"' in refused.body
        assert b"sk-wrong" not in refused.body


def test_options_may_carry_directives_for_every_request(start_simulator: StartSimulator) -> None:
    port = start_simulator("--simulate", "tokens=4").port
    assert b'"completion_tokens":4' in exchange(port, CHAT).body


def test_without_a_key_required_none_is_needed(provider: Simulator) -> None:
    assert exchange(provider.port, CHAT).status == 200
