from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import openai
import pytest

from tests.harness import Simulator


@pytest.fixture(scope="session")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """One simulated provider for all tests that leave no trace in it: a start costs a second."""
    with closing(Simulator(tmp_path_factory.mktemp("provider"))) as started:
        yield started


@pytest.fixture
def client(provider: Simulator) -> Iterator[openai.OpenAI]:
    """The real SDK, without its retries."""
    with openai.OpenAI(base_url=provider.url, api_key="sk-test-0123456789", max_retries=0) as made:
        yield made
