from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing import PriceBook
from proxy.config import Config
from proxy.recorder.bills import Bills
from proxy.recorder.interpret import Interpreter
from proxy.recorder.jobs import Jobs
from proxy.recorder.revise import Reviser
from proxy.records import Body, Charge, Exchange
from proxy.store import Record, SqliteStore
from proxy.store.jobs import Task
from tests.recorder.builders import START_MS, interpreter, make_begin, make_end, make_exchange

Restart = Callable[[], None]
NOVEMBER_MS = 1_795_000_000_000
"""The price table lists batches since October 2026."""
USAGE = {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100}
NANO_USD = 1000 * 150 + 100 * 600
"""gpt-4o-mini: 0.15 and 0.60 USD per million tokens."""


class Desk:
    """A store and an interpreter that can die and come back."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.restart()

    def restart(self) -> None:
        self.store = SqliteStore(self.path)
        self.interpreter = Interpreter(_book(), Config(), Bills(self.store.bills))

    def record(self, *exchanges: Exchange) -> list[Record]:
        records = self.interpreter.records(exchanges)
        self.store.write(records, {})
        self.interpreter.stored()
        return records

    def die(self) -> None:
        """End without a word, as if killed between two batches."""
        self.store.close()
        self.restart()

    def rows(self) -> dict[str, dict[str, Any]]:
        found = self.store._connection.execute(
            "SELECT id, cost_nano_usd, cost_reason, input_tokens, is_unpriced, pending_id FROM exchanges"
        )
        names = ("id", "cost_nano_usd", "cost_reason", "input_tokens", "is_unpriced", "pending_id")
        return {str(row[0]): dict(zip(names, row, strict=True)) for row in found}

    def total(self) -> int:
        return sum(row["cost_nano_usd"] or 0 for row in self.rows().values())


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "records.db")
    yield desk
    desk.store.close()


def _book() -> PriceBook:
    return interpreter()._book


def response(id_: str, *, status: str = "completed", **more: Any) -> bytes:
    usage = USAGE if status == "completed" else None
    return json.dumps(
        {"id": id_, "object": "response", "status": status, "model": "gpt-4o-mini", "usage": usage, "output": []} | more
    ).encode()


def created(id_: str, name: str, *, is_reserved: bool = False, **more: Any) -> Exchange:
    request = json.dumps({"model": "gpt-4o-mini", "input": "Hi"} | more).encode()
    status = "queued" if more.get("background") else "completed"
    answer = response(id_, status=status, **more)
    begin = make_begin(id=name, path="/responses", is_reserved=is_reserved)
    return make_exchange(begin, make_end(answer, request), request=request, response=answer)


def retrieved(id_: str, name: str, *, status: str = "completed", **begin: Any) -> Exchange:
    answer = response(id_, status=status)
    started = make_begin(id=name, method="GET", path=f"/responses/{id_}", **begin)
    return make_exchange(started, make_end(answer, b""), request=b"", response=answer)


def test_a_stored_response_that_is_read_again_costs_nothing_again(desk: Desk) -> None:
    first, again = desk.record(created("resp_1", "post"), retrieved("resp_1", "get"))
    assert (first.cost.nano_usd, again.cost.nano_usd) == (NANO_USD, 0)
    assert again.cost.reason == "billed with post"
    assert (again.usage, again.totals.input, again.is_unpriced) == (None, None, False)
    desk.die()
    (later,) = desk.record(retrieved("resp_1", "get-2"))
    assert (later.cost.nano_usd, later.cost.reason) == (0, "billed with post")
    assert desk.total() == NANO_USD


def test_a_background_response_is_billed_with_the_answer_that_first_shows_its_usage(desk: Desk) -> None:
    (posted,) = desk.record(created("resp_1", "post", background=True, is_reserved=True))
    assert (posted.cost.nano_usd, posted.cost.reason, posted.is_unpriced) == (None, "billed later", False)
    assert posted.settlement is None, "the reservation stands until the cost is known"
    assert desk.store.settlements(["post"]) == {}
    assert desk.store.awaited(["post", "other"]) == {"post"}
    (polled,) = desk.record(retrieved("resp_1", "poll", status="in_progress"))
    assert (polled.cost.nano_usd, polled.resolves) == (0, ())
    desk.die()
    (seen,) = desk.record(retrieved("resp_1", "seen"))
    assert (seen.cost.nano_usd, seen.resolves) == (NANO_USD, ("post",))
    assert desk.store.awaited(["post"]) == set()
    settlement = desk.store.settlements(["post"])["post"]
    assert (settlement.nano_usd, settlement.is_estimate) == (NANO_USD, False)
    assert desk.rows()["post"]["cost_reason"] == "billed with seen"
    assert desk.record(retrieved("resp_1", "again"))[0].cost.nano_usd == 0
    assert desk.total() == NANO_USD


def test_what_is_accepted_and_answered_in_one_batch_is_matched(desk: Desk) -> None:
    desk.record(created("resp_1", "post", background=True, is_reserved=True), retrieved("resp_1", "seen"))
    assert desk.rows()["post"]["pending_id"] is None
    assert desk.store.settlements(["post"])["post"].nano_usd == NANO_USD


def test_what_was_awaited_is_paid_although_its_batch_cannot_be_interpreted_at_once(desk: Desk) -> None:
    desk.record(created("resp_1", "post", background=True, is_reserved=True))
    seen, broken = retrieved("resp_1", "seen"), created("resp_2", "broken")
    broken = msgspec.structs.replace(broken, begin=make_begin(id="broken", path="/responses", started_at_ms=2**62))
    with pytest.raises(ValueError, match="year"):
        desk.interpreter.records([seen, broken])
    (record,) = desk.record(seen)
    assert record.resolves == ("post",)
    assert desk.record(retrieved("resp_1", "again"))[0].resolves == ()
    assert desk.store.settlements(["post"])["post"].nano_usd == NANO_USD


def test_the_same_id_at_another_biller_is_another_bill(desk: Desk) -> None:
    desk.record(created("resp_1", "post"))
    (elsewhere,) = desk.record(retrieved("resp_1", "get", upstream="azure", provider="azure"))
    assert elsewhere.cost.reason is None or "billed with" not in elsewhere.cost.reason


def test_a_batch_is_billed_once_with_the_batch_discount(desk: Desk) -> None:
    batch = json.dumps(
        {"id": "batch_1", "object": "batch", "status": "completed", "model": "gpt-4o-mini", "usage": USAGE}
    ).encode()

    def poll(name: str) -> Exchange:
        begin = make_begin(id=name, method="GET", path="/batches/batch_1", started_at_ms=NOVEMBER_MS)
        return make_exchange(begin, make_end(batch, b""), request=b"", response=batch)

    first, again = desk.record(poll("a"), poll("b"))
    assert (first.cost.nano_usd, again.cost.nano_usd) == (NANO_USD // 2, 0)
    assert first.reading.processing == "batch"


def results(*names: str) -> bytes:
    usage = {"input_tokens": 1000, "output_tokens": 100, "service_tier": "batch"}
    message = {"id": "msg", "type": "message", "model": "claude-sonnet-4-5", "role": "assistant", "content": []}
    lines = [
        {"custom_id": name, "result": {"type": "succeeded", "message": message | {"usage": usage}}} for name in names
    ]
    return b"\n".join(json.dumps(line).encode() for line in lines)


def downloaded(name: str, body: bytes) -> Exchange:
    begin = make_begin(
        id=name,
        method="GET",
        path="/v1/messages/batches/msgbatch_1/results",
        wire="anthropic",
        upstream="anthropic",
        provider="anthropic",
        started_at_ms=NOVEMBER_MS,
    )
    headers = ((b"content-type", b"application/x-jsonl"),)
    return make_exchange(begin, make_end(body, b"", headers=headers), request=b"", response=body)


def test_each_line_of_a_batchs_results_is_billed_once_however_often_it_is_downloaded(desk: Desk) -> None:
    line_nano_usd = (1000 * 3000 + 100 * 15000) // 2
    (partly,) = desk.record(downloaded("a", results("one", "two")))
    assert partly.cost.nano_usd == 2 * line_nano_usd
    (rest,) = desk.record(downloaded("b", results("one", "two", "three")))
    assert (rest.cost.nano_usd, rest.totals.input, len(rest.charges)) == (line_nano_usd, 1000, 1)
    (nothing,) = desk.record(downloaded("c", results("one", "two", "three")))
    assert nothing.cost.nano_usd == 0
    assert desk.total() == 3 * line_nano_usd


def test_a_bill_that_never_comes_is_given_up_and_counted(desk: Desk) -> None:
    desk.record(created("resp_1", "post", background=True, is_reserved=True))
    assert desk.store.give_up_waiting(START_MS) == 0
    assert desk.store.give_up_waiting(START_MS + 1) == 1
    row = desk.rows()["post"]
    assert (row["cost_nano_usd"], row["is_unpriced"], row["pending_id"]) == (None, 1, None)
    settlement = desk.store.settlements(["post"])["post"]
    assert (settlement.nano_usd, settlement.is_estimate) == (None, True), "all that was reserved is spent"
    counters = dict(desk.store._connection.execute("SELECT name, sum(value) FROM counters GROUP BY name"))
    assert counters["glassline_unpriced_requests_total"] == 1


def test_bills_are_forgotten_long_after_they_were_paid(desk: Desk) -> None:
    desk.record(created("resp_1", "post"))
    desk.store.purge_bills(START_MS)
    assert desk.store.bills.payers("openai", ["resp_1"]) == {"resp_1": "post"}
    desk.store.purge_bills(START_MS + 1)
    assert desk.store.bills.payers("openai", ["resp_1"]) == {}


@settings(max_examples=40)
@given(
    shown=st.lists(st.tuples(st.sampled_from(["r1", "r2", "r3"]), st.booleans()), min_size=1, max_size=14),
    cuts=st.lists(st.integers(0, 14), max_size=5),
    seed=st.integers(0, 2**16),
)
def test_every_response_is_billed_once_in_any_order_and_across_any_deaths(
    tmp_path_factory: pytest.TempPathFactory, shown: list[tuple[str, bool]], cuts: list[int], seed: int
) -> None:
    exchanges = [
        created(id_, f"{number}") if is_post else retrieved(id_, f"{number}")
        for number, (id_, is_post) in enumerate(shown)
    ]
    desk = Desk(tmp_path_factory.mktemp("bills") / "records.db")
    order = random.Random(seed)
    try:
        start = 0
        for end in [*sorted(cuts), len(exchanges)]:
            desk.record(*exchanges[start:end])
            # What a recorder stored and had not noted as done is taken from the journal once more.
            replayed = exchanges[: order.randint(0, min(end, len(exchanges)))]
            desk.die()
            desk.record(*replayed)
            start = max(start, end)
        assert desk.total() == NANO_USD * len({id_ for id_, _ in shown})
        inputs = [row["input_tokens"] for row in desk.rows().values() if row["input_tokens"] is not None]
        assert inputs == [1000] * len({id_ for id_, _ in shown})
    finally:
        desk.store.close()


def test_rereading_an_answer_that_was_not_understood_pays_what_was_awaited(desk: Desk) -> None:
    desk.record(created("resp_1", "post", background=True, is_reserved=True), retrieved("resp_1", "seen"))
    for sql in (
        "DELETE FROM bills",
        "UPDATE exchanges SET pending_id = 'resp_1', cost_nano_usd = NULL WHERE id = 'post'",
        "UPDATE exchanges SET usage_buckets = NULL, cost_nano_usd = 0, reader = 'none' WHERE id = 'seen'",
    ):
        desk.store._connection.execute(sql)
    desk.die()
    jobs = Jobs(
        desk.path.parent / "jobs",
        desk.store.jobs,
        Reviser(_book(), Config(), desk.interpreter),
        wall_ms=lambda: 1,
        monotonic=lambda: 1.0,
    )
    desk.store.jobs.add(desk.store.jobs.start(Task(kind="reread"), "job"), 0)
    assert jobs.step() is True, "the ledger has to hear of it"
    assert not jobs.is_busy
    assert desk.total() == NANO_USD
    assert desk.rows()["post"]["cost_reason"] == "billed with seen"
    assert desk.store.settlements(["post"])["post"].nano_usd == NANO_USD
    assert desk.store.bills.payers("openai", ["resp_1"]) == {"resp_1": "seen"}


def test_background_work_that_was_read_before_its_beginning_is_recorded_awaits_nothing(desk: Desk) -> None:
    """A stream that is left open until the response was retrieved elsewhere."""
    desk.record(retrieved("resp_1", "seen"))
    (posted,) = desk.record(created("resp_1", "post", background=True, is_reserved=True))
    assert (posted.pending_id, posted.cost.nano_usd, posted.cost.reason) == (None, 0, "billed with seen")
    assert posted.settlement is not None
    assert posted.settlement.nano_usd is None, "all that was reserved is spent: the reader held no reservation"
    assert desk.total() == NANO_USD


def test_a_reservation_is_spent_although_somebody_else_read_the_response_first(desk: Desk) -> None:
    """Or a budget would be passed by: hold the end of a stream back, and retrieve the response meanwhile."""
    desk.record(retrieved("resp_1", "seen"))
    (posted,) = desk.record(created("resp_1", "post", is_reserved=True))
    assert (posted.cost.nano_usd, posted.cost.reason) == (0, "billed with seen")
    assert posted.settlement is not None
    assert (posted.settlement.nano_usd, posted.settlement.is_estimate) == (NANO_USD, False)
    assert desk.total() == NANO_USD


def accepted_batch() -> Exchange:
    answer = json.dumps({"id": "msgbatch_1", "type": "message_batch", "processing_status": "in_progress"}).encode()
    where = {"wire": "anthropic", "upstream": "anthropic", "provider": "anthropic"}
    begin = make_begin(id="post", path="/v1/messages/batches", is_reserved=True, **where)
    return make_exchange(begin, make_end(answer, b"{}"), request=b"{}", response=answer)


def test_results_that_were_left_early_pay_nothing_until_they_are_fetched_whole(desk: Desk) -> None:
    whole = downloaded("again", results("one", "two", "three"))
    body = results("one", "two", "three").partition(b"\n")[0]
    left = downloaded("left", body)
    left = msgspec.structs.replace(left, end=msgspec.structs.replace(left.end, outcome="client_closed"))
    _, early, late = desk.record(accepted_batch(), left, whole)
    assert (early.cost.nano_usd, early.cost.reason, early.bills, early.resolves) == (None, "billed later", (), ())
    assert (late.cost.nano_usd, late.resolves) == (3 * (1000 * 3000 + 100 * 15000) // 2, ("post",))
    settlement = desk.store.settlements(["post"])["post"]
    assert settlement.nano_usd == late.cost.nano_usd, "not the price of the first line alone"


def test_results_of_which_only_the_ends_were_kept_have_no_known_cost(desk: Desk) -> None:
    lines = results(*(f"line-{number}" for number in range(100)))
    cut = downloaded("cut", lines)
    head = Body(lines[:2000], len(lines), cut.response.sha256, lines[-2000:])
    _, record = desk.record(accepted_batch(), msgspec.structs.replace(cut, response=head))
    assert 1 < len(record.charges) < 100
    assert (record.cost.nano_usd, record.cost.reason, record.is_unpriced) == (None, "input tokens unknown", True)
    assert record.cost.components, "a lower bound"
    settlement = desk.store.settlements(["post"])["post"]
    assert (settlement.nano_usd, settlement.is_estimate) == (None, True), "all that was reserved is spent"
    (row,) = desk.store._connection.execute("SELECT charges FROM exchanges WHERE id = 'cut'")
    kept = msgspec.json.decode(str(row[0]), type=tuple[Charge, ...])
    assert any(charge.usage.input_tokens is None for charge in kept), "nor will it be known when it is priced again"


def video(name: str, method: str, path: str, status: str, id_: str = "video_1", **begin: Any) -> Exchange:
    job = {"id": id_, "object": "video", "status": status, "model": "sora-2", "seconds": "4", "size": "720x1280"}
    started = make_begin(id=name, method=method, path=path, **begin)
    answer = json.dumps(job).encode()
    return make_exchange(started, make_end(answer, b"{}"), request=b"{}", response=answer)


def test_a_video_that_failed_gives_its_reservation_back(desk: Desk) -> None:
    desk.record(video("post", "POST", "/videos", "queued", is_reserved=True))
    (seen,) = desk.record(video("seen", "GET", "/videos/video_1", "failed"))
    assert (seen.cost.nano_usd, seen.is_unpriced, seen.resolves) == (0, False, ("post",))
    settlement = desk.store.settlements(["post"])["post"]
    assert (settlement.nano_usd, settlement.is_estimate) == (0, False)


def test_an_id_that_is_no_text_can_be_stored_and_is_billed_once(desk: Desk) -> None:
    odd = "video_\ud800\0"
    first, again = desk.record(*(video(name, "GET", "/videos/x", "completed", id_=odd) for name in ("a", "b")))
    assert first.cost.nano_usd
    assert (again.cost.nano_usd, again.cost.reason) == (0, "billed with a")
