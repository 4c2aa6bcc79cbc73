"""The journal after what it held was stored: overwritten where it must be, and still a journal."""

from __future__ import annotations

import threading
from pathlib import Path
from threading import Lock

import pytest

from proxy import failpoints
from proxy.journal import CHUNK_REQUEST, CHUNK_RESPONSE, JournalReader, JournalWriter
from proxy.journal.unsafe import survey
from proxy.recorder.erase import JournalEraser
from proxy.recorder.fold import Fold
from proxy.records import Exchange
from proxy.store import JournalPosition
from tests.recorder.builders import ANSWER, PROMPT, make_begin, make_end

CANARY = b"CANARY"


class Desk:
    """A writer, a reader that has folded all of it, and an eraser."""

    def __init__(self, directory: Path, segment_bytes: int = 1 << 20) -> None:
        self.directory = directory
        self.writer = JournalWriter(directory, "gateway", segment_bytes=segment_bytes)
        self.reader = JournalReader(directory)
        self.fold = Fold(self.reader.read, {})
        self.rewriting = Lock()
        self.eraser = JournalEraser(directory, self.fold.is_open, self.rewriting)

    def take(self) -> list[Exchange]:
        found: list[Exchange] = []
        while frames := self.reader.poll(1 << 20):
            found += [each for each in self.fold.take(frames) if isinstance(each, Exchange)]
        return found

    def erase(self) -> int:
        return self.eraser.erase({each.file_name: offset for each, offset in self.reader.offsets().items()})

    def data(self) -> bytes:
        return b"".join(path.read_bytes() for path in sorted(self.directory.glob("*.journal")))

    def close(self) -> None:
        self.writer.close()
        self.reader.close()


@pytest.fixture(params=[1 << 20, 300], ids=["one segment", "many segments"])
def desk(tmp_path: Path, request: pytest.FixtureRequest) -> Desk:
    return Desk(tmp_path, request.param)


def test_what_is_stored_is_overwritten_and_what_is_open_stays_until_it_ends(desk: Desk) -> None:
    done = desk.writer.begin(make_begin(user="CANARY"), CANARY + PROMPT)
    running = desk.writer.begin(make_begin(), b"RUNNING" + PROMPT)
    desk.writer.chunk(CHUNK_RESPONSE, done, CANARY * 20)
    desk.writer.chunk(CHUNK_REQUEST, running, b"RUNNING" * 20)
    desk.writer.end(done, make_end(), CANARY)
    assert len(desk.take()) == 1
    size = len(desk.data())
    assert desk.erase() > 0
    assert CANARY not in desk.data()
    assert desk.data().count(b"RUNNING") == 21
    assert len(desk.data()) == size
    assert desk.erase() == 0

    desk.writer.end(running, make_end(), ANSWER)
    (exchange,) = desk.take()
    assert exchange.request.head == b"RUNNING" + PROMPT + b"RUNNING" * 20
    desk.erase()
    assert b"RUNNING" not in desk.data()
    assert desk.eraser.damaged() == []
    desk.close()


def test_a_recorder_that_starts_again_steps_over_what_was_overwritten(desk: Desk) -> None:
    running = desk.writer.begin(make_begin(id="running"), PROMPT)
    for _ in range(3):
        desk.writer.end(desk.writer.begin(make_begin(), CANARY), make_end(), CANARY)
    desk.writer.chunk(CHUNK_RESPONSE, running, ANSWER)
    desk.take()
    needed, offsets = desk.fold.oldest_needed(), desk.reader.offsets()
    positions = {
        each.file_name: JournalPosition(resume=needed.get(each, offset), seen=offset)
        for each, offset in offsets.items()
    }
    desk.erase()
    desk.writer.end(running, make_end(), b"")

    again = JournalReader(desk.directory, positions)
    fold = Fold(again.read, positions)
    found = []
    while frames := again.poll(1 << 20):
        found += list(fold.take(frames))
    assert [each.begin.id for each in found if isinstance(each, Exchange)] == ["running"]
    assert len(found) == 1
    assert (again.damage.bad_frames, again.damage.lost_bytes) == (0, 0)
    again.close()
    desk.close()


def test_a_place_that_is_no_frame_is_named_and_left_as_it_is(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.writer.end(desk.writer.begin(make_begin(), CANARY), make_end(), CANARY)
    desk.take()
    (segment,) = desk.directory.glob("*.journal")
    with segment.open("r+b") as file:
        file.write(b"??")
    assert desk.erase() == 0
    assert desk.eraser.damaged() == [segment.name]
    desk.close()


def test_a_segment_that_is_gone_is_no_error(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert desk.eraser.erase({"0-gateway-0.00000000.journal": 100}) == 0
    assert desk.eraser.erase({}) == 0
    desk.close()


def test_nothing_is_overwritten_while_a_segment_is_copied(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.writer.end(desk.writer.begin(make_begin(), CANARY), make_end(), CANARY)
    desk.take()
    desk.rewriting.acquire()
    eraser = threading.Thread(target=desk.erase)
    eraser.start()
    eraser.join(0.2)
    assert eraser.is_alive()
    assert CANARY in desk.data()
    desk.rewriting.release()
    eraser.join(10)
    assert CANARY not in desk.data()
    desk.close()


@pytest.mark.parametrize("nth", range(1, 7))
def test_what_the_disk_did_not_take_is_overwritten_the_next_time(
    tmp_path: Path, nth: int, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(lambda: failpoints.arm({}))
    desk = Desk(tmp_path)
    number = desk.writer.begin(make_begin(user="CANARY"), CANARY)
    desk.take()
    assert desk.erase() == 0  # it is open, and waits
    desk.writer.end(number, make_end(), CANARY)
    desk.writer.end(desk.writer.begin(make_begin(user="CANARY"), CANARY), make_end(), CANARY)
    desk.take()
    failpoints.arm({failpoints.VARIABLE: f"erase.write:eio:{nth}"})
    with pytest.raises(OSError, match="output"):
        desk.erase()
    desk.erase()
    assert CANARY not in desk.data()
    assert desk.eraser.damaged() == []
    desk.close()


def test_a_segment_whose_erasing_was_not_synced_is_to_be_written_anew(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(lambda: failpoints.arm({}))
    desk = Desk(tmp_path)
    desk.writer.end(desk.writer.begin(make_begin(), CANARY), make_end(), CANARY)
    desk.take()
    failpoints.arm({failpoints.VARIABLE: "erase.sync:eio:1"})
    with pytest.raises(OSError, match="output"):
        desk.erase()
    (segment,) = tmp_path.glob("*.journal")
    assert survey(tmp_path).unsafe == {segment.name}
    desk.close()
