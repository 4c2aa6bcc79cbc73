"""A million requests, of which most were written past the recorder: what is summed is what is there.

The dashboard's tests look at the same ones. They are made here, at the beginning, while other tests run beside.
"""

from __future__ import annotations

from contextlib import closing

import pytest

from proxy.databases import open_database
from proxy.store import StoreReader, query
from proxy.store.query import Grouping
from tests.dashboard.seed import MILLION, seeded

GROUPINGS: list[list[Grouping]] = [[], ["model"], ["key", "model"], ["upstream"], ["provider"], ["environment"]]
pytestmark = pytest.mark.timeout(600)
SUMS = "count(*), sum(cost_nano_usd), sum(is_unpriced), sum(input_tokens), sum(output_tokens)"


def test_what_is_summed_of_a_million_requests_is_what_is_there() -> None:
    file = seeded().directory / "data" / "records.db"
    with closing(open_database(file, "read")) as connection:
        (rows,) = connection.execute(f"SELECT {SUMS} FROM exchanges")  # noqa: S608 (constants)
    assert rows[0] == MILLION
    with closing(StoreReader(file)) as reader:
        for by in GROUPINGS:
            found = reader.run(query.costs(by, from_ms=0, to_ms=2**53))
            assert len(found) < query.MAX_ROWS, "all of them"
            sums = [
                (each.requests, each.cost_nano_usd, each.unpriced, each.input_tokens, each.output_tokens)
                for each in found
            ]
            assert tuple(map(sum, zip(*sums, strict=True))) == rows, by
