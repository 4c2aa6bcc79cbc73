"""The published prices: the file is that of the release, and every answer is that of the package it was written from."""

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from genai_prices.data import providers
from hypothesis import given
from hypothesis import strategies as st

from pricing.catalogue import Match, Prices, Row, load_catalogue
from tests.pricing.catalogue import FILE, LICENCE, licence, render

CATALOGUE = load_catalogue()
SELLERS = {seller.id: seller for seller in CATALOGUE.sellers}
THEIRS = {provider.id: provider for provider in providers}
IDS = sorted({model.id for provider in providers for model in provider.models})
ENDINGS = ["", "-latest", "-20251211", "-2025-12-11", "-20251340", "-20251211:free", ":beta", "-mini", " ", "X"]
BEGINNINGS = ["", "us.", "openai/", "anthropic.", "models/"]
names = st.builds(
    "{}{}{}".format, st.sampled_from(BEGINNINGS), st.sampled_from(IDS), st.sampled_from(ENDINGS)
) | st.text(max_size=30)


def test_the_file_is_that_of_the_installed_release_and_its_licence_is_beside_it() -> None:
    assert FILE.read_text(encoding="utf-8") == render(), "make prices writes it"
    assert LICENCE.read_text(encoding="utf-8") == licence()


def test_every_provider_and_every_model_is_there() -> None:
    assert [(seller.id, [row.id for row in seller.models]) for seller in CATALOGUE.sellers] == [
        (provider.id, [model.id for model in provider.models]) for provider in providers
    ]


@given(name=names, seller=st.sampled_from(sorted(THEIRS)), is_upper=st.booleans())
def test_a_name_means_the_model_that_the_package_finds(name: str, seller: str, is_upper: bool) -> None:
    asked = name.upper() if is_upper else name
    ours = CATALOGUE.find(asked, SELLERS[seller])
    theirs = THEIRS[seller].find_model(asked, all_providers=providers)
    assert (ours and ours.id) == (theirs and theirs.id)


@pytest.mark.parametrize("seller", sorted(THEIRS))
def test_every_id_means_what_the_package_says(seller: str) -> None:
    for model in THEIRS[seller].models:
        ours = CATALOGUE.find(model.id, SELLERS[seller])
        theirs = THEIRS[seller].find_model(model.id, all_providers=providers)
        assert (ours and ours.id) == (theirs and theirs.id)


MOMENTS = st.datetimes(datetime(2023, 1, 1), datetime(2027, 1, 1), timezones=st.sampled_from([UTC, timezone(timedelta(hours=9))]))  # fmt: skip  # noqa: DTZ001
CONTEXTS = [{}, {"service_tier": "flex"}, {"service_tier": "priority"}, {"processing": "batch"}, {"speed": "fast"}]


@given(seller=st.sampled_from(sorted(THEIRS)), at=MOMENTS, context=st.sampled_from(CONTEXTS), data=st.data())
def test_prices_are_in_force_when_the_package_says(
    seller: str, at: datetime, context: dict[str, str], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(THEIRS[seller].models) - 1))
    theirs = vars(THEIRS[seller].models[place].get_prices(at, context))
    ours = SELLERS[seller].models[place].prices_at(at, context)
    assert ours.keys() == {key for key, price in theirs.items() if price is not None}
    for key, steps in ours.items():
        assert steps[0][1] == getattr(theirs[key], "base", theirs[key])
        assert len(steps) == 1 + len(getattr(theirs[key], "tiers", []))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_hours_may_span_midnight() -> None:
    night = Prices(usd={}, begins=at("2026-01-01T22:00").time(), ends=at("2026-01-01T06:00").time())
    assert [night.is_active(at(f"2026-01-01T{hour:02}:00")) for hour in (21, 22, 0, 5, 6)] == [
        False, True, True, True, False,
    ]  # fmt: skip


def test_the_first_price_holds_where_none_is_in_force_yet() -> None:
    later = Row(
        id="x", match=Match(equals="x"), prices=(Prices(usd={"input_mtok": ()}, since=at("2030-01-01").date()),)
    )
    assert later.prices_at(at("2026-01-01"), {}) == {"input_mtok": ()}
    assert later.standard(at("2026-01-01")) is None
    assert Row(id="x", match=Match(equals="x")).prices_at(at("2026-01-01"), {}) == {}


@pytest.mark.parametrize(
    ("match", "right", "wrong"),
    [
        (Match(equals="a"), "a", "ab"),
        (Match(starts="a"), "ab", "ba"),
        (Match(ends="a"), "ba", "ab"),
        (Match(contains="a"), "bab", "b"),
        (Match(regex="^a.?$"), "ab", "abc"),
        (Match(any=(Match(equals="a"), Match(equals="b"))), "b", "c"),
        (Match(all=(Match(starts="a"), Match(ends="b"))), "ab", "ac"),
    ],
    ids=lambda value: re.sub(r"\W+", " ", str(value)),
)
def test_each_kind_of_match_holds_for_what_it_says(match: Match, right: str, wrong: str) -> None:
    assert (match.holds(right), match.holds(wrong)) == (True, False)


def test_a_match_that_says_nothing_means_nothing() -> None:
    assert not Match().holds("a")
