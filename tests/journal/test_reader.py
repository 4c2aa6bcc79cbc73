from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.journal import CHUNK_REQUEST, CHUNK_RESPONSE, FrameKind, JournalReader, JournalWriter, Segment
from proxy.journal.frames import HEADER_SIZE, frame
from proxy.journal.quarantine import MAX_FILES, Quarantine
from proxy.journal.reader import PATIENCE_S, Frame
from proxy.store import JournalPosition
from tests.recorder.builders import make_begin, make_end

MUCH = 1 << 30
BODIES = (FrameKind.BEGIN, CHUNK_REQUEST, CHUNK_RESPONSE, FrameKind.END)


class Time:
    """A monotonic clock held in the hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def read_all(reader: JournalReader) -> list[Frame]:
    """Poll until nothing comes twice in a row: the first empty poll may be the one that notices a death."""
    frames: list[Frame] = []
    empty = 0
    while empty < 2:
        new = reader.poll(MUCH)
        frames += new
        empty = 0 if new else empty + 1
    return frames


def write_some(writer: JournalWriter, count: int, size: int = 100) -> None:
    for index in range(count):
        number = writer.begin(make_begin(id=f"id-{index}"), b"q" * size)
        writer.chunk(CHUNK_RESPONSE, number, b"r" * size)
        writer.end(number, make_end(), b"e" * size)


def segments_of(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.journal"))


def dead_journal(directory: Path, count: int = 5) -> Path:
    """Return the one segment of a writer that stopped in good order."""
    writer = JournalWriter(directory, "gateway-0")
    write_some(writer, count)
    writer.close()
    (segment,) = segments_of(directory)
    return segment


def test_every_frame_comes_once_and_in_order(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, "gateway-0")
    reader = JournalReader(tmp_path)
    write_some(writer, 3)
    first = reader.poll(MUCH)
    write_some(writer, 2)
    second = reader.poll(MUCH)
    kinds = [frame.kind for frame in first + second]
    assert kinds == [FrameKind.OPEN, *[FrameKind.BEGIN, CHUNK_RESPONSE, FrameKind.END] * 5]
    assert [frame.exchange for frame in first if frame.kind is FrameKind.END] == [1, 2, 3]
    assert reader.poll(MUCH) == []
    writer.close()


def test_a_small_budget_delivers_the_same_frames_in_more_calls(tmp_path: Path) -> None:
    dead_journal(tmp_path, 50)
    at_once = read_all(JournalReader(tmp_path))
    assert read_all(JournalReader(tmp_path)) == at_once
    reader = JournalReader(tmp_path)
    bit_by_bit: list[Frame] = []
    while new := reader.poll(1):
        bit_by_bit += new
    assert bit_by_bit == at_once


def test_a_poll_says_whether_it_left_something(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, "gateway")
    write_some(writer, 50, 1000)
    reader = JournalReader(tmp_path)
    polls = [(bool(reader.poll(30_000)), reader.has_more) for _ in range(20)]
    assert polls[0] == (True, True)
    assert polls[-1] == (False, False)
    write_some(writer, 1)
    assert (len(reader.poll(MUCH)), reader.has_more) == (3, False)
    writer.close()


def test_frames_larger_than_one_read_come_whole(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, "gateway-0")
    number = writer.begin(make_begin(), b"a" * 3_000_000)
    writer.chunk(CHUNK_RESPONSE, number, b"b" * 1_500_000)
    frames = JournalReader(tmp_path).poll(MUCH)
    assert [len(frame.payload) >= size for frame, size in zip(frames[1:], (3_000_000, 1_500_000), strict=True)]
    assert frames[2].payload == b"b" * 1_500_000
    writer.close()


def test_segments_of_a_writer_are_read_in_order_and_those_of_several_side_by_side(tmp_path: Path) -> None:
    writers = [JournalWriter(tmp_path, f"gateway-{index}", segment_bytes=2000) for index in range(3)]
    for writer in writers:
        write_some(writer, 20)
    reader = JournalReader(tmp_path)
    frames = read_all(reader)
    assert len(segments_of(tmp_path)) > 9
    for writer in writers:
        numbers = [frame.exchange for frame in frames if frame.writer == writer.name and frame.kind is FrameKind.END]
        assert numbers == list(range(1, 21))
        assert not reader.is_drained(writer.name)
        writer.close()


def test_a_backlog_of_one_writer_does_not_starve_another(tmp_path: Path) -> None:
    busy, quiet = JournalWriter(tmp_path, "gateway-0"), JournalWriter(tmp_path, "gateway-1")
    write_some(busy, 500, 1000)
    write_some(quiet, 1)
    reader = JournalReader(tmp_path)
    writers = {frame.writer for _ in range(2) for frame in reader.poll(10_000)}
    assert writers == {busy.name, quiet.name}
    busy.close()
    quiet.close()


def test_a_writer_is_dead_when_its_lock_is_free_and_drained_when_all_was_read(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, "gateway-0")
    write_some(writer, 1)
    reader = JournalReader(tmp_path)
    read_all(reader)
    assert not reader.is_dead(writer.name)
    assert not reader.is_drained(writer.name)
    write_some(writer, 1)
    writer.close()
    reader.scan()
    assert reader.is_dead(writer.name)
    assert not reader.is_drained(writer.name)
    read_all(reader)
    assert reader.is_drained(writer.name)
    assert reader.is_drained("nobody-ever-heard-of-it")


def _write_until_killed(directory: Path, pipe: Connection) -> None:
    writer = JournalWriter(directory, "gateway-0")
    write_some(writer, 10)
    pipe.send(writer.name)
    pipe.recv()


def test_the_death_of_a_killed_process_is_seen(tmp_path: Path) -> None:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_write_until_killed, args=(tmp_path, theirs))
    process.start()
    name = ours.recv()
    reader = JournalReader(tmp_path)
    frames = read_all(reader)
    assert not reader.is_dead(name)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    process.close()
    ours.close()
    theirs.close()
    assert read_all(reader) == []
    assert reader.is_drained(name)
    assert sum(frame.kind is FrameKind.END for frame in frames) == 10
    assert reader.damage.torn_tails == 0


def test_forgetting_deletes_segments_and_with_the_last_one_the_lock(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, "gateway-0", segment_bytes=2000)
    write_some(writer, 20)
    reader = JournalReader(tmp_path)
    read_all(reader)
    finished = reader.finished()
    assert len(finished) == len(segments_of(tmp_path)) - 1
    for segment in finished:
        reader.forget(segment)
    (newest,) = segments_of(tmp_path)
    with pytest.raises(ValueError, match="not finished"):
        reader.forget(Segment.from_file_name(newest.name) or finished[0])
    writer.close()
    read_all(reader)
    (last,) = reader.finished()
    reader.forget(last)
    assert list(tmp_path.iterdir()) == []
    assert reader.writers == []


def test_bytes_that_were_delivered_can_be_read_again(tmp_path: Path) -> None:
    dead_journal(tmp_path)
    reader = JournalReader(tmp_path)
    for each in read_all(reader):
        assert reader.read(each.segment, each.offset, 0) == each.payload


def test_reading_resumes_at_a_position(tmp_path: Path) -> None:
    segment = dead_journal(tmp_path)
    everything = read_all(JournalReader(tmp_path))
    start = everything[7].offset
    resumed = JournalReader(tmp_path, {segment.name: JournalPosition(start, start)})
    assert read_all(resumed) == everything[7:]


def test_a_position_beyond_the_end_of_a_file_is_not_believed(tmp_path: Path) -> None:
    segment = dead_journal(tmp_path)
    resumed = JournalReader(tmp_path, {segment.name: JournalPosition(10**9, 10**9)})
    assert read_all(resumed) == read_all(JournalReader(tmp_path))


def test_a_frame_in_flight_is_waited_for(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, "gateway-0")
    reader = JournalReader(tmp_path)
    write_some(writer, 1)
    read_all(reader)
    (segment,) = segments_of(tmp_path)
    payload = b"late" * 100
    whole = frame(CHUNK_RESPONSE, 1, payload)
    with segment.open("ab", buffering=0) as file:
        file.write(whole[:70])
        assert reader.poll(MUCH) == []
        assert reader.poll(MUCH) == []
        file.write(whole[70:])
    (late,) = reader.poll(MUCH)
    assert late.payload == payload
    assert reader.damage.bad_frames == reader.damage.torn_tails == 0
    writer.close()


def test_a_torn_tail_of_a_dead_writer_is_cut_and_counted(tmp_path: Path) -> None:
    segment = dead_journal(tmp_path)
    whole = read_all(JournalReader(tmp_path))
    content = segment.read_bytes()
    segment.write_bytes(content[: whole[-2].offset + 30])
    reader = JournalReader(tmp_path)
    assert read_all(reader) == whole[:-2]
    assert (reader.damage.torn_tails, reader.damage.bad_frames) == (1, 0)
    assert reader.is_drained(whole[0].writer)
    assert reader.is_damaged(whole[0].writer)


def test_zeros_that_a_power_cut_left_are_a_torn_tail(tmp_path: Path) -> None:
    segment = dead_journal(tmp_path)
    with segment.open("ab") as file:
        file.write(bytes(5000))
    reader = JournalReader(tmp_path)
    assert len(read_all(reader)) == 17
    assert (reader.damage.torn_tails, reader.damage.bad_frames) == (1, 0)


def test_a_bad_frame_in_the_middle_is_set_aside_and_the_rest_is_read(tmp_path: Path) -> None:
    segment = dead_journal(tmp_path)
    whole = read_all(JournalReader(tmp_path))
    content = bytearray(segment.read_bytes())
    bad = whole[6]
    content[bad.offset + HEADER_SIZE + 10] ^= 0xFF
    segment.write_bytes(content)
    reader = JournalReader(tmp_path)
    assert read_all(reader) == whole[:6] + whole[7:]
    assert (reader.damage.torn_tails, reader.damage.bad_frames) == (0, 1)
    (saved,) = (tmp_path / "bad").iterdir()
    assert saved.read_bytes() == content[bad.offset : whole[7].offset]
    assert saved.stat().st_mode & 0o777 == 0o600


def test_damage_in_a_segment_of_a_living_writer_is_skipped_after_a_second(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, "gateway-0")
    write_some(writer, 5)
    (segment,) = segments_of(tmp_path)
    whole = read_all(JournalReader(tmp_path))
    with segment.open("r+b") as file:
        file.seek(whole[6].offset + 4)
        file.write(b"\xff\xff\xff\x00")
    time = Time()
    reader = JournalReader(tmp_path, monotonic=time)
    assert read_all(reader) == whole[:6]
    time.now += PATIENCE_S / 2
    assert read_all(reader) == []
    time.now += PATIENCE_S
    assert read_all(reader) == whole[7:]
    assert reader.damage.bad_frames == 1
    writer.close()


def test_damage_that_an_earlier_reader_counted_is_not_counted_again(tmp_path: Path) -> None:
    segment = dead_journal(tmp_path)
    whole = read_all(JournalReader(tmp_path))
    content = bytearray(segment.read_bytes())
    content[whole[6].offset] ^= 0xFF
    segment.write_bytes(content)
    reader = JournalReader(tmp_path, {segment.name: JournalPosition(whole[3].offset, whole[10].offset)})
    assert len(read_all(reader)) == len(whole) - 3 - 1
    assert reader.damage.bad_frames == 0
    assert reader.is_damaged(whole[0].writer)


def test_a_body_full_of_imitated_headers_does_not_stop_the_reader(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, "gateway-0")
    imitation = frame(FrameKind.END, 7, b"x" * 30_000)[: HEADER_SIZE - 1] + b"\0"
    number = writer.begin(make_begin(), imitation * 100_000)
    writer.end(number, make_end(), b"")
    writer.close()
    (segment,) = segments_of(tmp_path)
    content = bytearray(segment.read_bytes())
    content[200] ^= 0xFF
    segment.write_bytes(content)
    reader = JournalReader(tmp_path)
    frames = read_all(reader)
    assert frames[0].kind is FrameKind.OPEN
    assert reader.damage.bad_frames == 1
    assert reader.is_drained(frames[0].writer)


def test_files_that_are_no_segments_are_left_alone(tmp_path: Path) -> None:
    for name in ("x.journal", "writer.abc.journal", ".journal", "writer.0001.lock", "notes.txt", "a.\u0661.journal"):
        (tmp_path / name).write_bytes(b"GL")
    reader = JournalReader(tmp_path)
    assert read_all(reader) == []
    assert reader.writers == []
    assert JournalReader(tmp_path / "missing").poll(MUCH) == []


def test_the_quarantine_is_bounded(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path / "bad")
    saved = [quarantine.save(f"damage-{index}", b"x" * 2_000_000) for index in range(MAX_FILES + 10)]
    assert saved == [True] * MAX_FILES + [False] * 10
    assert {path.stat().st_size for path in (tmp_path / "bad").iterdir()} == {1024 * 1024}


_cuts = st.tuples(st.just("cut"), st.floats(0, 1), st.just(b""))
_overwrites = st.tuples(st.just("overwrite"), st.floats(0, 1), st.binary(min_size=1, max_size=40))
_inserts = st.tuples(st.just("insert"), st.floats(0, 1), st.binary(min_size=1, max_size=40) | st.just(b"GL\x02\x01"))


@given(damages=st.lists(_cuts | _overwrites | _inserts, min_size=1, max_size=5), budget=st.sampled_from([1, 500, MUCH]))
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_bytes_are_all_frames_before_the_damage_come_and_reading_ends(
    tmp_path_factory: pytest.TempPathFactory, damages: list[tuple[str, float, bytes]], budget: int
) -> None:
    directory = tmp_path_factory.mktemp("journal")
    segment = dead_journal(directory, 4)
    whole = read_all(JournalReader(directory))
    content = bytearray(segment.read_bytes())
    original, first = bytes(content), len(content)
    for kind, place, data in damages:
        at = int(place * len(content))
        if kind == "cut":
            del content[at:]
        elif kind == "overwrite":
            content[at : at + len(data)] = data
        else:
            content[at:at] = data
    while first > 0 and content[:first] != original[:first]:
        first -= 1
    segment.write_bytes(content)
    reader = JournalReader(directory)
    frames: list[Frame] = []
    for _ in range(len(content) + 10):
        frames += reader.poll(budget)
        if reader.is_drained(whole[0].writer):
            break
    assert reader.is_drained(whole[0].writer)
    undamaged = [frame for frame in whole if frame.offset + HEADER_SIZE + len(frame.payload) <= first]
    assert frames[: len(undamaged)] == undamaged
    assert all(frame.kind in (FrameKind.OPEN, FrameKind.CLOSE, *BODIES) for frame in frames)
    if content == original:
        assert frames == whole


@given(content=st.binary(max_size=2000))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_segment_of_arbitrary_bytes_is_read_to_its_end(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    directory = tmp_path_factory.mktemp("journal")
    (directory / "0000000000001-gateway-0-00000000.00000000.journal").write_bytes(content)
    reader = JournalReader(directory)
    read_all(reader)
    assert reader.is_drained("0000000000001-gateway-0-00000000")
