from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.store import SqliteStore, StoreReader, Tally, query
from proxy.store.series import BOUNDARIES, Labels, Series, weight_of


def request_tally(model: str, key: str = "k") -> Tally:
    labels = (("key", key), ("upstream", "openai"), ("model", model), ("outcome", "completed"))
    return Tally("glassline_requests_total", labels, 1)


def series_in(path: Path) -> int:
    with StoreReader(path) as reader:
        counters, histograms = reader.run(query.counters()), reader.run(query.histograms())
    return sum(weight_of(row.name) for row in counters) + sum(weight_of(row.name) for row in histograms)


@pytest.mark.parametrize("cap", [100, 2000])
def test_a_hundred_thousand_names_stay_below_the_cap_and_are_all_counted(tmp_path: Path, cap: int) -> None:
    path = tmp_path / "records.db"
    for batch in range(10):
        with closing(SqliteStore(path, max_series=cap)) as store:
            tallies = []
            for index in range(10_000):
                model = f"model-{batch}-{index}"
                tallies.append(request_tally(model))
                labels = (("gen_ai_operation_name", "chat"), ("gen_ai_request_model", model))
                tallies.append(Tally("gen_ai_client_operation_duration_seconds", labels, 0.1))
            store.write([], {}, tallies)
        assert series_in(path) <= cap
    with StoreReader(path) as reader:
        assert sum(row.value for row in reader.run(query.counters())) == 100_000
        histograms = reader.run(query.histograms())
    assert sum(row.count for row in histograms) == 100_000
    assert any(row.labels["gen_ai_request_model"] == "other" for row in histograms)


def test_what_does_not_fit_keeps_its_other_labels_as_long_as_possible() -> None:
    series = Series(200)
    change = series.fold(request_tally(f"m{index}") for index in range(500))
    folded = {labels for _, labels in change.counters if ("model", "other") in labels}
    assert folded == {(("key", "other"), ("upstream", "other"), ("model", "other"), ("outcome", "completed"))}


def test_a_series_that_is_known_stays_itself_when_the_cap_is_reached() -> None:
    series = Series(200)
    series.commit(series.fold([request_tally("first")]))
    series.commit(series.fold(request_tally(f"m{index}") for index in range(500)))
    change = series.fold([request_tally("first")])
    assert list(change.counters) == [("glassline_requests_total", request_tally("first").labels)]


def test_labels_that_are_equal_are_one_series_whether_they_are_one_object_or_not() -> None:
    shared: Labels = (("key", "a"), ("upstream", "b"))
    equal: Labels = tuple((name, value) for name, value in shared)
    assert equal is not shared
    name = "gen_ai_client_operation_duration_seconds"
    tallies = [Tally(name, labels, 0.5) for labels in (shared, equal, shared)]
    tallies += [Tally("glassline_requests_total", labels, 2) for labels in (shared, equal)]
    change = Series(2000).fold(tallies)
    assert {key: state.count for key, state in change.histograms.items()} == {(name, shared): 3}
    assert change.counters == {("glassline_requests_total", shared): 4}


def test_a_change_that_is_not_committed_leaves_no_trace() -> None:
    series = Series(2000)
    labels = (("gen_ai_operation_name", "chat"),)
    tally = Tally("gen_ai_client_operation_duration_seconds", labels, 0.5)
    for _ in range(3):
        change = series.fold([tally, request_tally("m")])
        assert change.histograms["gen_ai_client_operation_duration_seconds", labels].count == 1
    assert series.weight == 0


@given(st.lists(st.floats(0, 1e9), min_size=1))
@settings(max_examples=100)
def test_every_observation_falls_into_the_bucket_whose_bounds_hold_it(values: list[float]) -> None:
    name = "gen_ai_client_operation_duration_seconds"
    series = Series(2000)
    change = series.fold(Tally(name, (), value) for value in values)
    state = change.histograms[name, ()]
    for index, bound in enumerate(BOUNDARIES[name]):
        assert sum(state.buckets[: index + 1]) == sum(value <= bound for value in values)
    assert state.count == sum(state.buckets) == len(values)
    assert state.sum == pytest.approx(sum(values))
