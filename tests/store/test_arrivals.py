from __future__ import annotations

from contextlib import closing
from itertools import accumulate
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.records import Timeline
from proxy.store import SqliteStore, StoredBody, StoreReader, query
from proxy.store.arrivals import packed, unpacked
from tests.recorder.builders import (
    DONE_EVENT,
    EVENTS,
    SSE_HEADERS,
    STREAM_PROMPT,
    USAGE_EVENT,
    interpreter,
    make_begin,
    make_end,
    make_exchange,
    times_of,
)

steps = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**9)), max_size=50)


@given(steps)
def test_a_timeline_comes_back_in_tenths_of_a_millisecond(differences: list[tuple[int, int]]) -> None:
    offsets = list(accumulate(size for size, _ in differences))
    times = list(accumulate(us for _, us in differences))
    timeline = Timeline(tuple(zip(offsets, times, strict=True)))
    found = unpacked(packed(timeline))
    assert [offset for offset, _ in found.pairs] == offsets
    assert [us for _, us in found.pairs] == [us // 100 * 100 for us in times]


@given(st.lists(st.integers(-(2**63), 2**64 - 1), max_size=9))
def test_nonsense_is_read_without_complaint(numbers: list[int]) -> None:
    unpacked(numbers).at(5)


def stored(tmp_path: Path, policy: str = "{}", **fields: Any) -> StoredBody:
    pieces = [*EVENTS, USAGE_EVENT, DONE_EVENT]
    body = b"".join(pieces)
    end = make_end(body, STREAM_PROMPT, headers=SSE_HEADERS, times=times_of(pieces), **fields)
    made = interpreter(policy).record(make_exchange(make_begin(id="stream"), end, STREAM_PROMPT, body))
    with closing(SqliteStore(tmp_path / "records.db")) as store:
        store.write([made], {})
    with StoreReader(tmp_path / "records.db") as reader:
        found = reader.run(query.body("stream", "response"))
    assert found is not None
    return found


def test_when_the_pieces_of_a_stream_came_is_kept_with_its_bytes(tmp_path: Path) -> None:
    found = stored(tmp_path)
    assert [us for _, us in found.timeline.pairs] == [400_000 + 10_000 * number for number in range(6)]
    assert found.timeline.pairs[-1][0] == found.size


def test_of_a_body_that_is_not_kept_no_times_are_kept_either(tmp_path: Path) -> None:
    found = stored(tmp_path, '{"record": {"bodies": "none"}}')
    assert (found.head, found.timeline) == (None, Timeline())


def test_of_an_answer_in_one_piece_no_times_are_kept() -> None:
    exchange = make_exchange(make_begin(id="plain"), make_end(times=times_of([b"{}", b"{}"])))
    assert interpreter().record(exchange).response.timeline == Timeline()


@pytest.mark.parametrize("word", ["Hel", "nothing"])
def test_times_of_a_redacted_stream_are_those_of_its_events(tmp_path: Path, word: str) -> None:
    policy = msgspec.json.encode({"record": {"redact": [{"name": "word", "pattern": word}]}}).decode()
    found = stored(tmp_path, policy)
    assert found.edit == ("redacted" if word == "Hel" else "")
    assert [us for _, us in found.timeline.pairs] == [400_000 + 10_000 * number for number in range(6)]
    assert found.head is not None
    assert found.timeline.pairs[-1][0] == len(found.head)
    ends = [offset for offset, _ in found.timeline.pairs]
    assert all(found.head[:end].endswith(b"\n\n") for end in ends)
