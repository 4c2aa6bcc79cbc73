from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.records import Headers
from proxy.store.heads import Filling, Heads, joined

_STORED = msgspec.msgpack.Decoder(list[Filling])


def stored(first: Headers, second: Headers) -> tuple[bytes, list[Filling]]:
    """Return the template and what is stored of the second, after a first of the same names."""
    heads = Heads(lambda _: b"")
    heads.split(first)
    template, values = heads.split(second)
    return template.data, _STORED.decode(msgspec.msgpack.encode(values))


def texts(headers: Headers) -> tuple[tuple[str, str], ...]:
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)


_VALUES = st.one_of(
    st.binary(max_size=40),
    st.from_regex(rb"[0-9]{1,20}", fullmatch=True),
    st.from_regex(rb"[a-z_]{0,4}[0-9a-f]{14,40}[-A-Z]{0,4}", fullmatch=True),
    st.from_regex(
        rb"[A-Z][a-z]{2}, [0-3][0-9] (?:Feb|Nov|Sot) [0-9]{4} [0-2][0-9]:[0-6][0-9]:[0-6][0-9] GMT", fullmatch=True
    ),
)


@given(st.lists(_VALUES, max_size=4))
def test_any_values_come_back_letter_by_letter(values: list[bytes]) -> None:
    headers = tuple((b"name-%d" % place, value) for place, value in enumerate(values))
    other = tuple((name, value + b"!") for name, value in headers)
    assert joined(*stored(other, headers)) == texts(headers)


@pytest.mark.parametrize(
    ("value", "filling"),
    [
        (b"4096", 4096),
        (b"007", "007"),
        (b"0", 0),
        (b"9" * 19, "9" * 19),
        (b"Sat, 21 Nov 2026 16:00:01 GMT", -1795276801),
        (b"Fri, 21 Nov 2026 16:00:01 GMT", "Fri, 21 Nov 2026 16:00:01 GMT"),
        (b"Mon, 30 Feb 2026 16:00:01 GMT", "Mon, 30 Feb 2026 16:00:01 GMT"),
        (b"req_" + b"0a" * 16, ("req_", b"\x0a" * 16, "")),
        (b"8c0f" * 4 + b"-FRA", ("", b"\x8c\x0f" * 4, "-FRA")),
        (b"8C0F" * 4, "8C0F" * 4),
        (b"caf\xe9", "caf\xe9"),
    ],
)
def test_a_value_is_stored_as_what_it_says(value: bytes, filling: Filling) -> None:
    template, (found,) = stored(((b"x", b"other"),), ((b"x", value),))
    assert found == filling
    assert joined(template, [found]) == (("x", value.decode("latin-1")),)


def test_what_an_earlier_version_stored_is_read_as_it_was() -> None:
    template = msgspec.json.encode([("date", None), ("server", "x")])
    values = _STORED.decode(msgspec.msgpack.encode(["Sat, 21 Nov 2026 16:00:00 GMT"]))
    assert joined(template, values) == (("date", "Sat, 21 Nov 2026 16:00:00 GMT"), ("server", "x"))
