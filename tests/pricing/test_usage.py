import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from pricing import Count, Usage

counts = st.integers(0, 10**9)
maybe = st.one_of(counts, st.none(), st.just(UNSET))


def test_reported_totals_come_out_exactly_when_the_split_is_absent() -> None:
    usage = Usage.from_totals(input_tokens=100, output_tokens=20, cache_read=None, output_reasoning=None)
    assert (usage.input_tokens, usage.output_tokens) == (100, 20)
    assert usage.cached_input_tokens is None
    assert usage.reasoning_tokens is None


def test_a_reported_zero_is_not_unknown() -> None:
    usage = Usage.from_totals(input_tokens=100, output_tokens=20, cache_read=0, output_reasoning=0)
    assert (usage.cached_input_tokens, usage.reasoning_tokens, usage.input_uncached) == (0, 0, 100)


def test_parts_are_taken_out_of_their_total() -> None:
    usage = Usage.from_totals(
        input_tokens=10_000,
        cache_read=2000,
        cache_write_30m=3000,
        cache_write_12h=1000,
        input_audio=500,
        output_tokens=7,
    )
    assert usage.input_uncached == 3500
    assert (usage.input_tokens, usage.cached_input_tokens, usage.cache_write_tokens) == (10_000, 2000, 4000)
    assert usage.output_text == 7


def test_parts_that_exceed_their_total_are_not_believed() -> None:
    usage = Usage.from_totals(input_tokens=100, cache_read=120, output_tokens=10, output_reasoning=11)
    assert (usage.input_tokens, usage.cached_input_tokens) == (100, None)
    assert (usage.output_tokens, usage.reasoning_tokens) == (10, None)
    usage = Usage.from_totals(input_tokens=100, cache_read=120, cache_write=0, input_audio=UNSET, input_image=None)
    assert usage == Usage(input_uncached=100, cache_read=None, cache_write=None, input_image=None)


def test_a_negative_count_is_unknown() -> None:
    usage = Usage.from_totals(input_tokens=-1, output_tokens=5, output_reasoning=-5)
    assert usage.input_tokens is None
    assert (usage.output_tokens, usage.reasoning_tokens) == (5, None)


def test_an_unknown_total_is_unknown_even_if_a_part_is_known() -> None:
    assert Usage.from_totals(output_tokens=None, output_reasoning=64).output_tokens is None


def test_a_bucket_that_does_not_apply_is_left_out_of_json_and_an_unknown_one_is_null() -> None:
    usage = Usage(input_uncached=5, cache_read=None)
    assert msgspec.json.encode(usage) == b'{"input_uncached":5,"cache_read":null}'
    assert msgspec.json.decode(msgspec.json.encode(usage), type=Usage) == usage


def test_an_unknown_part_by_name_is_an_error_of_ours() -> None:
    with pytest.raises(TypeError, match="cache_red"):
        Usage.from_totals(input_tokens=1, cache_red=1)


@given(total=counts, parts=st.dictionaries(st.sampled_from(Usage.INPUT[1:]), maybe))
def test_any_split_gives_back_its_input_total(total: int, parts: dict[str, Count]) -> None:
    usage = Usage.from_totals(input_tokens=total, **parts)
    assert usage.input_tokens == total
    assert isinstance(usage.input_uncached, int)
    assert 0 <= usage.input_uncached <= total


@given(total=counts, parts=st.dictionaries(st.sampled_from(Usage.OUTPUT[1:]), maybe))
def test_any_split_gives_back_its_output_total(total: int, parts: dict[str, Count]) -> None:
    assert Usage.from_totals(output_tokens=total, **parts).output_tokens == total


def test_every_count_is_input_output_another_unit_or_informative() -> None:
    informative = {"accepted_prediction", "rejected_prediction", "tool_calls", "reported_cost_nano_usd"}
    listed = [*Usage.INPUT, *Usage.OUTPUT, *Usage.UNITS, *informative]
    assert sorted(listed) == sorted(Usage.__struct_fields__)


def test_a_sum_keeps_every_token_whatever_was_not_reported() -> None:
    first = Usage.from_totals(input_tokens=10, cache_read=None, output_tokens=1)
    second = Usage.from_totals(input_tokens=100, cache_read=90, output_tokens=2, web_searches=3)
    both = Usage.total([first, second])
    assert (both.input_tokens, both.output_tokens, both.cached_input_tokens) == (110, 3, 90)
    assert both.web_searches == 3
    assert Usage.total([first, Usage(input_uncached=None)]).input_tokens is None
    assert Usage.total([first]) is first
