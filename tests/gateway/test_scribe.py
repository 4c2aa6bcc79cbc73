"""What comes in one turn of the loop goes to the journal together, and nobody goes on before it is there."""

from __future__ import annotations

import asyncio
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from proxy.gateway.scribe import Scribe
from proxy.journal import CHUNK_RESPONSE, FrameKind, JournalReader, JournalWriter
from tests.recorder.builders import make_begin, make_end

BEGIN = msgspec.msgpack.encode(make_begin())


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[JournalWriter]:
    writer = JournalWriter(tmp_path, "gateway-0")
    yield writer
    writer.close()


@pytest.fixture
def full_disk() -> Iterator[Callable[[int], None]]:
    """Return what keeps every file from growing beyond a size, until the test ends."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def kinds_in(directory: Path) -> list[tuple[FrameKind, int]]:
    return [(frame.kind, frame.exchange) for frame in JournalReader(directory).poll(1 << 30)][1:]


def test_nobody_goes_on_before_the_turn_is_over_and_its_frames_are_in_the_file(
    tmp_path: Path, journal: JournalWriter
) -> None:
    seen: list[tuple[int, bool, int]] = []

    async def turn() -> None:
        scribe = Scribe(journal, asyncio.get_running_loop())
        for index in range(3):
            note = lambda is_written, index=index: seen.append((index, is_written, len(kinds_in(tmp_path))))  # noqa: E731
            scribe.begin_soon(BEGIN, b"question", note)
        assert scribe.is_busy
        assert (seen, kinds_in(tmp_path)) == ([], [])
        await asyncio.sleep(0)
        assert not scribe.is_busy

    asyncio.run(turn())
    assert seen == [(0, True, 3), (1, True, 3), (2, True, 3)]


def test_frames_stand_in_the_order_in_which_they_came_whoever_waits_for_them(
    tmp_path: Path, journal: JournalWriter
) -> None:
    async def turn() -> None:
        scribe = Scribe(journal, asyncio.get_running_loop())
        number = scribe.begin_soon(BEGIN, b"", lambda _: None)
        assert number is not None
        assert scribe.keep(CHUNK_RESPONSE, number, b"at once")
        scribe.keep_soon(CHUNK_RESPONSE, number, b"soon", lambda _: None)
        scribe.end_soon(number, make_end(), b"", lambda _: None)
        await asyncio.sleep(0)

    asyncio.run(turn())
    kinds = [kind for kind, _ in kinds_in(tmp_path)]
    assert kinds == [FrameKind.BEGIN, CHUNK_RESPONSE, CHUNK_RESPONSE, FrameKind.END]


def test_what_is_long_is_written_apart_and_in_its_turn(tmp_path: Path, journal: JournalWriter) -> None:
    told: list[int] = []

    async def turn() -> None:
        scribe = Scribe(journal, asyncio.get_running_loop())
        for index, size in enumerate((10, 300_000, 10)):
            scribe.begin_soon(BEGIN, b"x" * size, lambda _, index=index: told.append(index))  # type: ignore[misc]
        await asyncio.sleep(0)

    asyncio.run(turn())
    assert told == [0, 1, 2]
    assert kinds_in(tmp_path) == [(FrameKind.BEGIN, 1), (FrameKind.BEGIN, 2), (FrameKind.BEGIN, 3)]


def test_a_disk_that_takes_nothing_tells_everybody_of_the_turn(
    tmp_path: Path, journal: JournalWriter, full_disk: Callable[[int], None]
) -> None:
    told: list[bool] = []

    async def turn() -> None:
        scribe = Scribe(journal, asyncio.get_running_loop())
        for _ in range(3):
            scribe.begin_soon(BEGIN, b"question", told.append)
        full_disk(1)
        await asyncio.sleep(0)

    asyncio.run(turn())
    assert told == [False] * 3
    assert kinds_in(tmp_path) == []


def test_one_who_fails_does_not_keep_the_others_waiting(journal: JournalWriter) -> None:
    told: list[bool] = []
    failures: list[object] = []

    def fail(is_written: bool) -> None:
        raise RuntimeError(is_written)

    async def turn() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: failures.append(context["exception"]))
        scribe = Scribe(journal, loop)
        for written in (told.append, fail, told.append):
            scribe.begin_soon(BEGIN, b"", written)
        await asyncio.sleep(0.01)

    asyncio.run(turn())
    assert told == [True, True]
    assert [type(failure) for failure in failures] == [RuntimeError]


def test_who_fails_does_not_take_along_an_end_that_is_written_at_once(tmp_path: Path, journal: JournalWriter) -> None:
    failures: list[object] = []

    def fail(is_written: bool) -> None:
        raise RuntimeError(is_written)

    async def turn() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: failures.append(context["exception"]))
        scribe = Scribe(journal, loop)
        number = scribe.begin(BEGIN, b"", is_reserved=False)
        assert number is not None
        scribe.begin_soon(BEGIN, b"", fail)
        scribe.keep_end(number, make_end(), b"answer")

    asyncio.run(turn())
    assert kinds_in(tmp_path) == [(FrameKind.BEGIN, 1), (FrameKind.BEGIN, 2), (FrameKind.END, 1)]
    assert [type(failure) for failure in failures] == [RuntimeError]


def test_whole_frames_of_a_short_write_stay_for_a_reader_may_have_seen_them(
    tmp_path: Path, journal: JournalWriter, full_disk: Callable[[int], None]
) -> None:
    told: list[tuple[int, bool]] = []

    async def turn() -> None:
        scribe = Scribe(journal, asyncio.get_running_loop())
        for index in range(4):
            scribe.begin_soon(BEGIN, b"x" * 1000, lambda is_written, index=index: told.append((index, is_written)))  # type: ignore[misc]
        full_disk(journal.written_bytes + 2 * (1000 + len(BEGIN)) + 500)
        await asyncio.sleep(0)

    asyncio.run(turn())
    assert told == [(0, True), (1, True), (2, False), (3, False)]
    assert kinds_in(tmp_path) == [(FrameKind.BEGIN, 1), (FrameKind.BEGIN, 2)]
    assert journal.written_bytes == next(tmp_path.glob("*.journal")).stat().st_size
