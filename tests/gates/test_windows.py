from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.gates.windows import WindowKind, window_at

KINDS: tuple[WindowKind, ...] = ("minute", "hour", "day", "week", "month")
ZONES = sorted(available_timezones())
HARD_ZONES = [
    "Australia/Lord_Howe",  # half an hour of summer time
    "America/Sao_Paulo",  # midnights that did not exist, and ones that happened twice, until 2019
    "Asia/Kolkata",
    "Pacific/Apia",  # had no 30 December 2011
    "America/Havana",  # 1:00 becomes 0:00
    "Asia/Kathmandu",
    "Africa/Monrovia",
    "Asia/Gaza",
    "America/Scoresbysund",
]
FIRST, LAST = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (1971, 2060))


def ms(text: str, zone: str = "UTC", fold: int = 0) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp() * 1000)


def window(kind: WindowKind, zone: str, now_ms: int) -> tuple[int, int]:
    start, end = window_at(kind, ZoneInfo(zone), now_ms)
    assert end is not None
    return start, end


def transitions(zone: str, start: int, end: int) -> list[int]:
    """Return the seconds at which the offset changes, found by asking every quarter of an hour."""
    tz, found = ZoneInfo(zone), []
    before = datetime.fromtimestamp(start, tz).utcoffset()
    for second in range(start, end, 900):
        offset = datetime.fromtimestamp(second, tz).utcoffset()
        if offset != before:
            found.append(second)
        before = offset
    return found


@given(
    kind=st.sampled_from(KINDS),
    zone=st.one_of(st.sampled_from(HARD_ZONES), st.sampled_from(ZONES)),
    second=st.integers(FIRST, LAST),
    extra_ms=st.integers(0, 999),
)
@settings(max_examples=10_000 if os.environ.get("GLASSLINE_LONG") else 1_500)
def test_windows_tile_time(kind: WindowKind, zone: str, second: int, extra_ms: int) -> None:
    now = second * 1000 + extra_ms
    start, end = window(kind, zone, now)
    assert start <= now < end
    assert window(kind, zone, start) == (start, end)
    assert window(kind, zone, end - 1) == (start, end)
    assert window(kind, zone, (start + end) // 2) == (start, end)
    assert window(kind, zone, end)[0] == end
    assert window(kind, zone, start - 1)[1] == start


@given(zone=st.sampled_from(HARD_ZONES), year=st.integers(1990, 2035), data=st.data())
@settings(max_examples=60)
def test_windows_tile_time_around_every_change_of_offset(zone: str, year: int, data: st.DataObject) -> None:
    start = int(datetime(year, 1, 1, tzinfo=UTC).timestamp())
    for change in transitions(zone, start, start + 366 * 86400):
        kind = data.draw(st.sampled_from(KINDS))
        now = change * 1000 - 5 * 3600_000
        _, end = window(kind, zone, now)
        while end < change * 1000 + 5 * 3600_000:
            following = window(kind, zone, end)
            assert following[0] == end
            assert window(kind, zone, following[1] - 1) == following
            end = following[1]


@given(zone=st.sampled_from([*HARD_ZONES, "Europe/Berlin", "America/New_York"]), second=st.integers(FIRST, LAST))
@settings(max_examples=300)
def test_a_day_begins_when_the_local_date_first_appears(zone: str, second: int) -> None:
    start, end = window("day", zone, second * 1000)
    tz = ZoneInfo(zone)
    first_day = datetime.fromtimestamp(start // 1000, tz).date()
    assert datetime.fromtimestamp(start // 1000 - 1, tz).date() < first_day
    assert datetime.fromtimestamp(end // 1000, tz).date() > first_day
    assert datetime.fromtimestamp(end // 1000 - 1, tz).date() <= first_day


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("America/New_York", "2026-11-01", 25),
        ("Australia/Lord_Howe", "2026-04-05", 24.5),
        ("Australia/Lord_Howe", "2026-10-04", 23.5),
        ("America/Sao_Paulo", "2018-11-04", 23),  # midnight did not exist
        ("America/Sao_Paulo", "2018-02-17", 25),  # the hour before midnight happened twice
        ("America/Havana", "2026-11-01", 25),  # the hour after midnight happens twice
        ("Asia/Kolkata", "2026-11-01", 24),
    ],
)
def test_a_day_has_its_real_length(zone: str, day: str, hours: float) -> None:
    start, end = window("day", zone, ms(f"{day}T12:00", zone))
    assert (end - start) / 3_600_000 == hours


def test_a_midnight_that_does_not_exist_resets_when_the_clock_jumps_over_it() -> None:
    start, _ = window("day", "America/Sao_Paulo", ms("2018-11-04T12:00", "America/Sao_Paulo"))
    assert datetime.fromtimestamp(start / 1000, UTC).isoformat() == "2018-11-04T03:00:00+00:00"


def test_a_day_that_a_zone_skipped_has_no_window() -> None:
    _, end = window("day", "Pacific/Apia", ms("2011-12-29T12:00", "Pacific/Apia"))
    assert datetime.fromtimestamp(end / 1000, ZoneInfo("Pacific/Apia")).isoformat() == "2011-12-31T00:00:00+14:00"


def test_weeks_begin_on_monday_and_months_know_february() -> None:
    start, end = window("week", "Europe/Paris", ms("2026-11-22T23:59:59", "Europe/Paris"))
    assert (start, end) == (ms("2026-11-16", "Europe/Paris"), ms("2026-11-23", "Europe/Paris"))
    assert window("month", "UTC", ms("2028-02-29T12:00")) == (ms("2028-02-01"), ms("2028-03-01"))
    assert window("month", "UTC", ms("2026-02-28T23:59")) == (ms("2026-02-01"), ms("2026-03-01"))
    assert window("month", "UTC", ms("2026-12-31T23:59")) == (ms("2026-12-01"), ms("2027-01-01"))
    assert window("day", "UTC", ms("2028-02-29T12:00")) == (ms("2028-02-29"), ms("2028-03-01"))


def test_hours_and_minutes_keep_their_length_when_the_clocks_go_back() -> None:
    zone = "Europe/Berlin"
    first, second = (ms("2026-10-25T02:30:10", zone, fold) for fold in (0, 1))
    assert second - first == 3_600_000
    assert window("hour", zone, first) == (first - 1_810_000, first + 1_790_000)
    assert window("hour", zone, second) == (second - 1_810_000, second + 1_790_000)
    assert window("minute", zone, first) == (first - 10_000, first + 50_000)


@pytest.mark.parametrize(
    "zone", ["Asia/Kolkata", "Asia/Kathmandu", "Australia/Eucla", "America/St_Johns", "Pacific/Marquesas"]
)
def test_hours_follow_the_local_clock_in_zones_off_by_a_part_of_an_hour(zone: str) -> None:
    start, end = window("hour", zone, ms("2026-11-21T10:15", zone))
    assert (start, end) == (ms("2026-11-21T10:00", zone), ms("2026-11-21T11:00", zone))


def test_a_change_by_half_an_hour_in_the_middle_of_an_hour_ends_it() -> None:
    zone = "Asia/Pyongyang"
    change = ms("2018-05-04T23:29:59", zone) + 1000
    assert {window("hour", zone, change - second * 1000) for second in range(1, 1801)} == {(change - 1_800_000, change)}
    assert {window("hour", zone, change + second * 1000) for second in range(3600)} == {(change, change + 3_600_000)}


def test_a_change_by_a_whole_hour_cuts_no_hour_wherever_it_falls() -> None:
    zone = "America/St_Johns"  # changed its clocks a minute past midnight until 2011
    change = ms("2010-03-14T00:00:59", zone) + 1000
    start, end = window("hour", zone, change - 1)
    assert (start, end) == (change - 60_000, change - 60_000 + 3_600_000)
    assert window("hour", zone, change) == (start, end)


def test_a_change_by_half_an_hour_cuts_one_hour_short() -> None:
    zone = "Australia/Lord_Howe"
    change = ms("2026-10-04T01:59:59", zone) + 1000
    lengths = []
    now = change - 3_600_000
    while now < change + 7_200_000:
        start, now = window("hour", zone, now)
        lengths.append((now - start) / 60_000)
    assert lengths == [60, 30, 60, 60]
    assert timedelta(minutes=sum(lengths)) == timedelta(hours=3.5)
    assert len({window("hour", zone, change + second * 1000) for second in range(1800)}) == 1


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
@pytest.mark.parametrize("year", [2026, 2028, 2038, 2100])
def test_a_year_has_its_days_and_months_each_once(zone: str, year: int) -> None:
    """Leap days, months of 28 to 31 days, and the second in which 32 bits end."""
    start, end = ms(f"{year}-01-01", zone), ms(f"{year + 1}-01-01", zone)
    days = (date(year + 1, 1, 1) - date(year, 1, 1)).days
    for kind, count in (("day", days), ("month", 12)):
        edges = [start]
        while edges[-1] < end:
            edges.append(window(kind, zone, edges[-1])[1])  # type: ignore[arg-type]  # of the loop's own
        assert (edges[-1], len(edges) - 1) == (end, count)


def test_the_second_in_which_32_bits_end_is_a_second_like_any_other() -> None:
    last = ms("2038-01-19T03:14:07")
    assert window("minute", "UTC", last) == window("minute", "UTC", last + 1000)
    assert window("day", "Europe/Berlin", last) == window("day", "Europe/Berlin", last + 1000)
    assert window("month", "UTC", last + 1000) == (ms("2038-01-01"), ms("2038-02-01"))


def test_total_never_ends() -> None:
    assert window_at("total", ZoneInfo("UTC"), ms("2038-01-19T03:14:08")) == (0, None)
