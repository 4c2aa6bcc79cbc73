from __future__ import annotations

from datetime import UTC, datetime

import pytest

from proxy.admin.when import InstantError, read_instant

NOW = 1_763_683_200_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW),
        ("now-30s", NOW - 30_000),
        ("now-7d", NOW - 7 * 86_400_000),
        ("1763683200000", NOW),
        ("2026-11-01T12:00+00:00", int(datetime(2026, 11, 1, 12, tzinfo=UTC).timestamp() * 1000)),
        ("2026-11-01T12:00:00Z", int(datetime(2026, 11, 1, 12, tzinfo=UTC).timestamp() * 1000)),
    ],
)
def test_instants_are_read_as_people_write_them(text: str, expected: int) -> None:
    assert read_instant(text, NOW) == expected


def test_a_time_without_an_offset_is_local() -> None:
    local = datetime(2026, 11, 1).astimezone()
    assert read_instant("2026-11-01", NOW) == int(local.timestamp() * 1000)


@pytest.mark.parametrize("text", ["", "yesterday", "now+1d", "2026-13-01", "now-1y", "12"])
def test_what_is_not_a_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InstantError, match="write now-7d"):
        read_instant(text, NOW)
