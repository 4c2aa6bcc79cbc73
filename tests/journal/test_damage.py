"""Segments damaged in every way that a disk or a person can: reading ends, and what is sound is delivered."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.journal import CHUNK_RESPONSE, JournalReader, JournalWriter
from proxy.journal.reader import Frame
from tests.recorder.builders import make_begin, make_end

MUCH = 1 << 30
ROUNDS = 400 if os.environ.get("GLASSLINE_LONG") else 40
Damage = Callable[[bytearray, random.Random], bytearray]


def _span(content: bytearray, chance: random.Random) -> tuple[int, int]:
    start = chance.randrange(len(content))
    return start, min(len(content), start + chance.choice((1, 7, 64, 512, 4096)))


def truncate(content: bytearray, chance: random.Random) -> bytearray:
    return content[: chance.randrange(len(content))]


def flip(content: bytearray, chance: random.Random) -> bytearray:
    for _ in range(chance.choice((1, 3, 50))):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    return content


def zero(content: bytearray, chance: random.Random) -> bytearray:
    start, end = _span(content, chance)
    content[start:end] = bytes(end - start)
    return content


def duplicate(content: bytearray, chance: random.Random) -> bytearray:
    start, end = _span(content, chance)
    return content[:end] + content[start:end] + content[end:]


def remove(content: bytearray, chance: random.Random) -> bytearray:
    start, end = _span(content, chance)
    return content[:start] + content[end:]


def reorder(content: bytearray, chance: random.Random) -> bytearray:
    sectors = [content[at : at + 512] for at in range(0, len(content), 512)]
    first, second = chance.randrange(len(sectors)), chance.randrange(len(sectors))
    sectors[first], sectors[second] = sectors[second], sectors[first]
    return bytearray(b"".join(sectors))


def append_noise(content: bytearray, chance: random.Random) -> bytearray:
    return content + chance.randbytes(chance.randrange(1, 2000))


DAMAGES: tuple[Damage, ...] = (truncate, flip, zero, duplicate, remove, reorder, append_noise)


def write(directory: Path) -> list[Path]:
    """Leave the segments of two writers that were killed."""
    for role in ("gateway-0", "gateway-1"):
        writer = JournalWriter(directory, role, segment_bytes=6000)
        for index in range(20):
            number = writer.begin(make_begin(id=f"{role}-{index}"), b"q" * 100)
            writer.chunk(CHUNK_RESPONSE, number, b"r" * 300)
            writer.end(number, make_end(), b"e" * 50)
        writer.close()
    return sorted(directory.glob("*.journal"))


def read(directory: Path) -> tuple[list[Frame], JournalReader]:
    reader = JournalReader(directory)
    frames: list[Frame] = []
    for _ in range(3):
        frames += reader.poll(MUCH)
    assert all(reader.is_drained(writer) for writer in reader.writers), "reading did not come to an end"
    return frames, reader


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_what_is_sound_is_delivered_whatever_happened_to_the_rest(tmp_path: Path, damage: Damage) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    chance = random.Random(seed)
    segments = write(tmp_path)
    sound = {(frame.writer, frame.exchange, frame.kind, bytes(frame.payload)) for frame in read(tmp_path)[0]}
    contents = {path: path.read_bytes() for path in segments}
    for _ in range(ROUNDS):
        victim = chance.choice(segments)
        victim.write_bytes(damage(bytearray(contents[victim]), chance))
        frames, reader = read(tmp_path)
        found = {(frame.writer, frame.exchange, frame.kind, bytes(frame.payload)) for frame in frames}
        assert found <= sound, "a frame that nobody wrote"
        elsewhere = {key for path, content in contents.items() if path != victim for key in _frames_of(path, content)}
        assert elsewhere <= found, "damage in one segment costs frames of another"
        if found != sound:
            changed = victim.read_bytes() != contents[victim]
            assert changed
            counts = reader.damage.bad_frames + reader.damage.torn_tails
            is_clean_cut = damage in (truncate, remove, reorder)
            assert counts or is_clean_cut, "frames are missing and nothing was counted"
        reader.close()
        victim.write_bytes(contents[victim])


def _frames_of(path: Path, content: bytes) -> set[tuple[str, int, int, bytes]]:
    if path not in _CACHE:
        directory = path.parent / f"only-{path.stem}"
        directory.mkdir()
        (directory / path.name).write_bytes(content)
        frames, reader = read(directory)
        reader.close()
        _CACHE[path] = {(frame.writer, frame.exchange, frame.kind, bytes(frame.payload)) for frame in frames}
    return _CACHE[path]


_CACHE: dict[Path, set[tuple[str, int, int, bytes]]] = {}


def test_segments_with_exchanged_names_are_read_to_their_end(tmp_path: Path) -> None:
    segments = write(tmp_path)
    expected = len(read(tmp_path)[0])
    first, second = segments[0], segments[1]
    held = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(held)
    assert len(read(tmp_path)[0]) == expected
