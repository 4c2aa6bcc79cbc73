from __future__ import annotations

import copy
import json
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.config import Config, parse_config
from proxy.config.hidden import secrets_of
from proxy.gates.budgets import Budgets
from proxy.gates.keys import KeyRing
from proxy.gateway.gate import Gate
from proxy.gateway.routing import Router, build_targets
from proxy.pepper import load_pepper
from proxy.recorder.echoes import Echoes
from proxy.secrets import MASK, Scrubber, Secret

CANARY = "canary-0c61f29e"


def full_config() -> Config:
    """Return a configuration with a canary wherever a secret can stand."""
    tree = {
        "auth": "virtual",
        "upstreams": {
            "openai": {"api_key": f"sk-{CANARY}-1"},
            "mine": {"base_url": "https://x.example/v1", "wire": "openai", "api_key": f"sk-{CANARY}-2"},
            "bedrock": {
                "aws": {
                    "access_key": f"{CANARY}-3",
                    "secret_key": f"{CANARY}-4",
                    "session_token": f"{CANARY}-5",
                }
            },
        },
        "keys": [{"name": "team", "key": f"gl-{CANARY}-6", "tags": {"team": "search"}}],
    }
    return parse_config(json.dumps(tree))


def everything(tmp_path: Path) -> dict[str, Any]:
    """Return the objects that hold a secret while Glassline runs."""
    config = full_config()
    targets = build_targets(config)
    ring = KeyRing(config.keys, (), load_pepper(tmp_path))
    return {
        "config": config,
        "upstream": config.upstreams["openai"],
        "key": config.keys[0],
        "aws": config.upstreams["bedrock"].aws,
        "target": targets["openai"],
        "targets": targets,
        "signer": targets["bedrock"].signer,
        "route": Router(targets, "openai").find(b"/v1/models", "GET"),
        "ring": ring,
        "gate": Gate(config, ring, Budgets(()), owner="x"),
        "echoes": Echoes(config),
        "secrets": secrets_of(config),
        "scrubber": Scrubber(secrets_of(config)),
        "pepper": load_pepper(tmp_path),
    }


SHOWN: dict[str, Callable[[Any], str]] = {
    "repr": repr,
    "str": str,
    "format": lambda value: f"{value!s:>40}",
    "percent": lambda value: "%s %r" % (value, value),  # noqa: UP031 - what old code does
    "in a list": lambda value: repr([value, {"it": value}]),
    "traceback": lambda value: told_by_a_traceback(value),
}


def told_by_a_traceback(value: Any) -> str:
    def fail(held: Any) -> None:
        also_held = {"held": held, "again": [held]}
        raise ValueError(f"{held} {len(also_held)}")

    try:
        fail(value)
    except ValueError as error:
        return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    return ""


@pytest.mark.parametrize("way", SHOWN)
def test_nothing_that_holds_a_secret_shows_it(tmp_path: Path, way: str) -> None:
    pepper = load_pepper(tmp_path).reveal()
    for name, value in everything(tmp_path).items():
        shown = SHOWN[way](value)
        assert CANARY not in shown, name
        assert repr(pepper)[2:-1] not in shown, name
        assert pepper.hex() not in shown, name


def test_a_configuration_as_json_holds_no_secret() -> None:
    assert CANARY not in full_config().model_dump_json()
    assert CANARY not in str(full_config().model_dump())


@pytest.mark.parametrize("take_out", [pickle.dumps, copy.deepcopy, copy.copy, json.dumps, bytes, list, iter, len])
def test_a_secret_cannot_be_taken_out_by_accident(take_out: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError):
        take_out(Secret(CANARY.encode()))


def test_a_target_cannot_be_pickled_with_its_key() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(build_targets(full_config())["openai"])


def test_every_secret_of_a_configuration_is_known(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("the-password\n")
    config = full_config()
    admin = config.admin.model_copy(update={"password_file": tmp_path / "password"})
    found = {secret.reveal().decode() for secret in secrets_of(config.model_copy(update={"admin": admin}))}
    assert sorted(found) == sorted(
        [*(f"sk-{CANARY}-{n}" for n in (1, 2)), *(f"{CANARY}-{n}" for n in (3, 4, 5)), f"gl-{CANARY}-6", "the-password"]
    )


def test_scrubbing_keeps_lengths_and_leaves_short_words() -> None:
    scrubber = Scrubber([Secret(b"long-enough"), Secret(b"long-enough-and-longer"), Secret(b"short")])
    assert (
        scrubber.scrub(b"a long-enough-and-longer b long-enough short")
        == b"a " + b"*" * 22 + b" b " + b"*" * 11 + b" short"
    )
    assert scrubber.scrub_text("a long-enough-and-longer b") == f"a {MASK} b"
    assert scrubber.finds(b"xlong-enoughx")
    assert not scrubber.finds(b"short")
    assert not Scrubber()
