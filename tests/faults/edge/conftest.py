"""What the tests of this folder share: one Glassline in front of an upstream that tells what it was sent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.harness import Glassline
from tests.harness.stage import with_upstream
from tests.harness.upstream import Connection, ScriptedUpstream, with_length


def tell(connection: Connection) -> None:
    """Answer with the head of the request as it came."""
    connection.send(with_length(connection.request.partition(b"\r\n\r\n")[0]))


@pytest.fixture(scope="package")
def echo() -> Iterator[ScriptedUpstream]:
    """An upstream whose answers say what it was sent."""
    with ScriptedUpstream(tell) as made:
        yield made


@pytest.fixture(scope="package")
def edge(tmp_path_factory: pytest.TempPathFactory, echo: ScriptedUpstream) -> Iterator[Glassline]:
    """A Glassline in front of `echo`, as it is without a configuration."""
    with closing(Glassline(tmp_path_factory.mktemp("edge"), with_upstream({}, echo.url))) as made:
        yield made.start()
