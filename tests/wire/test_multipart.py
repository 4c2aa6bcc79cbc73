"""Fields of a form are found whatever the files between them hold, and wherever the body breaks off."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.simulator.openai.forms import read_form
from proxy.wire.multipart import fields, parts
from tests.wire.openai.forms import BOUNDARY, FORM_TYPE, form

names = st.text("abcdefghijklmnopqrstuvwxyz_[]", min_size=1, max_size=12)
values = st.text(st.characters(exclude_categories=["Cs"]), max_size=40).map(lambda text: text.replace(BOUNDARY, ""))
files = st.binary(max_size=200).filter(lambda content: BOUNDARY.encode() not in content)


@given(st.dictionaries(names, values, max_size=6), st.lists(files, max_size=3), st.randoms())
def test_every_field_is_found_between_any_files(wanted: dict[str, str], contents: list[bytes], random: Random) -> None:
    sections: list[tuple[str, str | bytes]] = [*wanted.items(), *(("file", content) for content in contents)]
    random.shuffle(sections)
    assert fields(form(*sections), FORM_TYPE) == wanted


@given(st.binary(max_size=300), st.binary(max_size=80))
def test_no_bytes_raise(body: bytes, content_type: bytes) -> None:
    fields(body, content_type)
    fields(f"--{BOUNDARY}\r\n".encode() + body, FORM_TYPE)


@given(st.integers(0, 400))
def test_a_cut_form_gives_what_came_whole_before_the_cut(size: int) -> None:
    body = form(("model", "whisper-1"), ("language", "de"), ("file", b"x" * 200))
    found = fields(body[:size], FORM_TYPE)
    assert found.keys() <= {"model", "language"}
    assert found.get("model") in (None, "whisper-1")
    assert found.get("language") in (None, "de")
    if size >= body.index(b'name="language"'):
        assert found["model"] == "whisper-1"


@pytest.mark.parametrize(
    "content_type",
    [b"", b"application/json", b"multipart/form-data", b"multipart/mixed; boundary=" + BOUNDARY.encode()],
)
def test_a_body_that_is_no_form_has_no_parts(content_type: bytes) -> None:
    assert list(parts(form(("model", "m")), content_type)) == []


def test_a_boundary_may_stand_in_quotes_and_a_name_without_them() -> None:
    body = b"--b c\r\nContent-Disposition: form-data; name=model\r\n\r\nm\r\n--b c--\r\n"
    assert fields(body, b'Multipart/Form-Data; Boundary="b c"') == {"model": "m"}


@given(st.dictionaries(names, values, min_size=1, max_size=4), st.lists(files, max_size=2))
def test_another_implementation_reads_the_same_fields(wanted: dict[str, str], contents: list[bytes]) -> None:
    body = form(*wanted.items(), *(("file", content) for content in contents))
    theirs = read_form(FORM_TYPE.decode(), body)
    ours = fields(body, FORM_TYPE)
    for name, value in theirs.items():
        if isinstance(value, str):
            assert ours[name] == value
