"""Packed texts: shorter, and read for ever."""

from __future__ import annotations

from hashlib import sha256
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.store.packing import NEWEST, Packer, unpack
from tests.recorder.builders import ANSWER, PROMPT

DICTIONARIES = {1: "82f331db36a944a49f5e265e7b351980905c54a048cbb030026c1be75f5c0649"}
"""Stored texts need them as they are: one may be added, none may change."""


@given(st.binary(max_size=2000) | st.text(alphabet="ab{}", max_size=5000).map(str.encode))
def test_what_was_packed_comes_back(data: bytes) -> None:
    packed = Packer().pack(data)
    assert unpack(packed) == data
    assert len(packed) <= len(data) + 1


@pytest.mark.parametrize("data", [PROMPT, ANSWER])
def test_small_texts_of_usual_shapes_are_much_shorter(data: bytes) -> None:
    assert len(Packer().pack(data)) < len(data) * 0.7


def test_every_dictionary_is_there_as_it_was() -> None:
    folder = files("proxy.store") / "dictionaries"
    there = {file.name: sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
    assert there == {f"{number}.zdict": digest for number, digest in DICTIONARIES.items()}
    assert max(DICTIONARIES) == NEWEST


def test_a_text_that_needs_another_dictionary_is_not_misread() -> None:
    packed = Packer().pack(PROMPT)
    with pytest.raises(FileNotFoundError):
        unpack(bytes((NEWEST + 1,)) + packed[1:])
