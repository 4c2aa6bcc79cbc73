from __future__ import annotations

import tracemalloc
from hashlib import sha256
from pathlib import Path

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.journal import CHUNK_REQUEST, CHUNK_RESPONSE, NOTE, FrameKind, JournalReader, JournalWriter
from proxy.journal.reader import Frame, Segment
from proxy.recorder.fold import Fold, Unreadable
from proxy.records import Exchange
from proxy.store import JournalPosition
from tests.recorder.builders import ANSWER, PROMPT, make_begin, make_end, times_of, write_chat

MUCH = 1 << 30


def folded(reader: JournalReader, fold: Fold, budget: int = MUCH) -> list[Exchange]:
    exchanges: list[Exchange] = []
    while frames := reader.poll(budget):
        for exchange in fold.take(frames):
            assert isinstance(exchange, Exchange)
            exchanges.append(exchange)
    return exchanges


def test_an_exchange_is_put_together_from_all_its_frames(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, "gateway-0")
    begin = make_begin(tags={"a": "b"})
    number = writer.begin(begin, b"one ")
    writer.chunk(CHUNK_REQUEST, number, b"two ")
    writer.chunk(CHUNK_RESPONSE, number, b"three ")
    writer.chunk(CHUNK_REQUEST, number, b"four")
    writer.chunk(CHUNK_RESPONSE, number, b"five ")
    end = make_end(b"three five six", b"one two four", times=times_of([b"three ", b"five six"]))
    writer.end(number, end, b"six")
    writer.close()
    reader = JournalReader(tmp_path)
    (exchange,) = folded(reader, Fold(reader.read, {}))
    assert (exchange.begin, exchange.end) == (begin, end)
    assert (exchange.request.head, exchange.request.is_whole) == (b"one two four", True)
    assert exchange.response.head == b"three five six"
    assert exchange.response.sha256 == sha256(b"three five six").digest()
    assert exchange.timeline.pairs == ((6, 400_000), (14, 410_000))


@given(
    schedule=st.lists(st.tuples(st.integers(0, 4), st.sampled_from("qr"), st.binary(max_size=30)), max_size=60),
    budget=st.sampled_from([1, 100, MUCH]),
    segment_bytes=st.sampled_from([300, 2000, 1 << 20]),
)
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_interleaved_exchanges_over_any_segments_and_polls_come_out_whole(
    tmp_path_factory: object, schedule: list[tuple[int, str, bytes]], budget: int, segment_bytes: int
) -> None:
    directory = tmp_path_factory.mktemp("journal")  # type: ignore[attr-defined]  # pytest's factory
    writer = JournalWriter(directory, "gateway-0", segment_bytes=segment_bytes)
    expected = {str(index): [b"", b""] for index in range(5)}
    numbers = [writer.begin(make_begin(id=name)) for name in expected]
    for index, side, data in schedule:
        writer.chunk(CHUNK_REQUEST if side == "q" else CHUNK_RESPONSE, numbers[index], data)
        expected[str(index)][side == "r"] += data
    for index, number in enumerate(numbers):
        request, response = expected[str(index)]
        writer.end(number, make_end(response, request))
    writer.close()
    reader = JournalReader(directory)
    found = {
        each.begin.id: [each.request.head, each.response.head] for each in folded(reader, Fold(reader.read, {}), budget)
    }
    assert found == expected
    reader.close()


def test_bodies_of_open_exchanges_are_not_held_in_memory(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, "gateway-0")
    reader = JournalReader(tmp_path)
    fold = Fold(reader.read, {})
    tracemalloc.start()
    numbers = []
    for _ in range(40):
        number = writer.begin(make_begin(), b"q" * 500_000)
        writer.chunk(CHUNK_RESPONSE, number, b"r" * 500_000)
        numbers.append(number)
        assert folded(reader, fold) == []
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 2_000_000
    writer.end(numbers[0], make_end(b"r" * 500_000, b"q" * 500_000))
    (exchange,) = folded(reader, fold)
    assert exchange.request.head == b"q" * 500_000
    assert exchange.response.head == b"r" * 500_000
    writer.close()


def test_what_a_dead_writer_left_open_is_interrupted_with_the_bytes_so_far(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, "gateway-0")
    number = writer.begin(make_begin(id="open"), PROMPT)
    writer.chunk(CHUNK_RESPONSE, number, b"so far")
    write_chat(writer)
    reader = JournalReader(tmp_path)
    fold = Fold(reader.read, {})
    assert len(folded(reader, fold)) == 1
    assert fold.open_ids() == {"open"}
    (exchange,) = fold.interrupt(writer.name)
    assert (exchange.end.outcome, exchange.end.status) == ("interrupted", None)
    assert (exchange.request.head, exchange.response.head) == (PROMPT, b"so far")
    assert exchange.response.is_whole
    assert fold.open_ids() == set()
    assert list(fold.interrupt(writer.name)) == []
    writer.close()


def test_positions_resume_at_the_oldest_open_exchange(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, "gateway-0", segment_bytes=3000)
    write_chat(writer)
    number = writer.begin(make_begin(id="open"), PROMPT)
    for _ in range(10):
        write_chat(writer)
    writer.chunk(CHUNK_RESPONSE, number, b"late")
    reader = JournalReader(tmp_path)
    fold = Fold(reader.read, {})
    folded(reader, fold)
    needed = fold.oldest_needed()
    assert len(needed) == 2
    assert len(reader.offsets()) >= 3
    first = min(needed)
    assert first.number == 0
    assert needed[first] > 0
    writer.end(number, make_end(b"late"))
    folded(reader, fold)
    assert fold.oldest_needed() == {}
    writer.close()


def test_a_restarted_fold_continues_open_exchanges_and_skips_those_that_were_stored(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, "gateway-0")
    write_chat(writer, make_begin(id="stored-before"))
    number = writer.begin(make_begin(id="open"), b"first ")
    write_chat(writer, make_begin(id="stored-while-open"))
    writer.chunk(CHUNK_REQUEST, number, b"second")
    reader = JournalReader(tmp_path)
    fold = Fold(reader.read, {})
    assert len(folded(reader, fold)) == 2
    (segment,) = reader.offsets()
    positions = {segment.file_name: JournalPosition(fold.oldest_needed()[segment], reader.offsets()[segment])}
    writer.end(number, make_end(request=b"first second"), ANSWER)
    write_chat(writer, make_begin(id="new"))
    again = JournalReader(tmp_path, positions)
    exchanges = folded(again, Fold(again.read, positions))
    assert [each.begin.id for each in exchanges] == ["open", "new"]
    assert exchanges[0].request.head == b"first second"
    writer.close()


def frame_of(kind: FrameKind, payload: bytes, offset: int = 0) -> Frame:
    return Frame("writer", Segment("writer", 0), offset, kind, 1, payload)


def never_read(segment: Segment, offset: int, length: int) -> bytes:
    raise AssertionError((segment, offset, length))


def test_a_sound_frame_that_means_nothing_is_reported_once() -> None:
    fold = Fold(never_read, {})
    junk = [b"", b"\x01", b"\xff\xff\xff\xff", b"\x02\0\0\0\xc1\xc1", b"\x01\0\0\0\x90", b"\x03\0\0\0abc"]
    for payload in junk:
        (begun,) = fold.take([frame_of(FrameKind.BEGIN, payload)])
        assert isinstance(begun, Unreadable)
        assert begun.reason == "unreadable"
    end = msgspec.msgpack.encode(make_end())
    payload = len(end).to_bytes(4, "little") + end
    (lost,) = fold.take([frame_of(FrameKind.END, payload)])
    assert isinstance(lost, Unreadable)
    assert lost.reason == "no_begin"
    seen = Fold(never_read, {"writer.00000000.journal": JournalPosition(0, 100)})
    assert list(seen.take([frame_of(FrameKind.END, payload), frame_of(FrameKind.BEGIN, b"")])) == []
    assert len(list(seen.take([frame_of(FrameKind.END, payload, offset=100)]))) == 1


def test_notes_take_the_place_of_the_tail_of_a_response_that_was_not_kept_whole(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, "gateway-0", segment_bytes=300)
    for is_ended in (True, False):
        number = writer.begin(make_begin(), b"asked")
        writer.chunk(CHUNK_RESPONSE, number, b"head ")
        writer.chunk(NOTE, number, b"one ")
        writer.chunk(NOTE, number, b"two " + bytes(300))
        if is_ended:
            writer.end(number, msgspec.structs.replace(make_end(b"head ", b"asked"), response_size=10_000))
    writer.close()
    reader = JournalReader(tmp_path)
    fold = Fold(reader.read, {})
    (ended,) = folded(reader, fold, budget=1)
    (interrupted,) = fold.interrupt(writer.name)
    for exchange in (ended, interrupted):
        assert exchange.response.head == b"head "
        assert exchange.response.tail == b"one two " + bytes(300)
        assert not exchange.response.is_whole
    assert ended.response.size == 10_000
