from __future__ import annotations

import httpx
import pytest

from proxy.cli import main
from tests.conftest import StartGlassline
from tests.harness import Simulator

CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 20}


def test_a_key_works_when_it_is_printed_and_no_longer_when_it_is_revoked(
    start_glassline: StartGlassline, simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {"auth": "virtual", "upstreams": {"openai": {"api_key": "sk-the-real-one"}}}
    glassline = start_glassline(simulator.url, config)
    place = ["-c", str(glassline.config_file), "--data-dir", str(glassline.data_dir)]
    with httpx.Client(base_url=glassline.url, timeout=30, trust_env=False) as client:

        def ask(key: str, model: str = "gpt-4o-mini") -> int:
            headers = {"authorization": f"Bearer {key}"}
            return client.post("/v1/chat/completions", json=CHAT | {"model": model}, headers=headers).status_code

        assert ask("gl-nobody") == 401
        options = ["--models", "gpt-4o*", "--budget", "1/day", "--budget", "0.0000001/month"]
        assert main(["keys", "create", "open", "--models", "gpt-4o*", "--budget", "1/day", *place]) == 0
        key = capsys.readouterr().out.strip()
        assert ask(key) == 200
        assert ask(key, "o3") == 403
        assert main(["keys", "create", "poor", *options, *place]) == 0
        assert ask(capsys.readouterr().out.strip()) == 429
        assert main(["keys", "revoke", "open", *place]) == 0
        assert ask(key) == 401
        capsys.readouterr()
        assert main(["budgets", "explain", "poor", *place]) == 0
        assert "refused: it needs $" in capsys.readouterr().out
