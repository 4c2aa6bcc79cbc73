"""Gateways with leases, against a ledger in a process of its own."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from select import select
from typing import Any, Final

import msgspec
import pytest

from proxy.errors import LedgerUnavailable
from proxy.ledger.client import Decision, LedgerClient, SyncLedgerClient
from proxy.ledger.framing import MAX_ANSWER, FrameBuffer, frame
from proxy.ledger.leases import SHARE
from proxy.ledger.reading import read_accounts
from proxy.ledger.server import RECALL_S
from proxy.ledger.wallet import IDLE_S, Wallet
from proxy.reservations import (
    Answer,
    Balance,
    BudgetLine,
    Draw,
    Granted,
    Lease,
    Leased,
    Recall,
    Refused,
    Release,
    Reserve,
    Return,
    Tariff,
)
from tests.ledger.ledger_under_test import LedgerProcess, running_ledger
from tests.ledger.scenes import DOLLAR, NEED, open_reservations, request, total

WIDE: Final = total(100 * DOLLAR)
MANY: Final = 400
_DECODER: Final = msgspec.msgpack.Decoder(Answer)


@pytest.fixture
def ledger_process() -> Iterator[LedgerProcess]:
    with running_ledger() as process:
        yield process


class Caller:
    """A gateway as its ledger sees it."""

    def __init__(self, client: LedgerClient, name: str) -> None:
        self.client = client
        self.name = name
        self.count = 0

    async def ask(self, line: BudgetLine = WIDE, **more: Any) -> Decision:
        self.count += 1
        return await self.reserve(request(f"{self.name}-{self.count}", line, owner=self.name, **more))

    async def reserve(self, message: Reserve) -> Decision:
        answer: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        self.client.reserve(message, answer.set_result)
        return await answer

    async def warm_up(self, line: BudgetLine = WIDE) -> list[Granted]:
        """Ask until a lease admits; return all that was granted."""
        granted: list[Granted] = []
        async with asyncio.timeout(10):
            while not granted or not granted[-1].lease:
                answer = await self.ask(line)
                assert isinstance(answer, Granted), answer
                granted.append(answer)
        return granted


@asynccontextmanager
async def caller(process: LedgerProcess, name: str = "g") -> AsyncIterator[Caller]:
    client = LedgerClient(process.socket)
    client.start()
    await client.connected()
    yield Caller(client, name)
    await client.close()


def committed(process: LedgerProcess) -> tuple[int, int]:
    [row] = read_accounts(process.database)
    return row.spent_nano_usd, row.reserved_nano_usd


async def until(condition: Callable[[], bool], within_s: float = 30) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - what is waited for is another process
            await asyncio.sleep(0.01)


async def test_a_caller_that_comes_often_is_admitted_without_a_question(ledger_process: LedgerProcess) -> None:
    async with caller(ledger_process) as one:
        await one.warm_up()
        ledger_process.send(signal.SIGSTOP)
        try:
            answers = [await one.ask() for _ in range(4)]
        finally:
            ledger_process.send(signal.SIGCONT)
        assert all(isinstance(answer, Granted) and answer.lease for answer in answers)


async def test_a_caller_that_comes_seldom_is_decided_about_by_the_ledger(ledger_process: LedgerProcess) -> None:
    async with caller(ledger_process) as one:
        for _ in range(5):
            answer = await one.ask()
            assert isinstance(answer, Granted)
            assert answer.lease == ""
        assert committed(ledger_process) == (0, 5 * NEED)


@pytest.mark.parametrize(
    "more",
    [
        {"is_sliced": True, "max_output_tokens": None},
        {"is_free": True},
        {"tool_calls": 1},
        {"speed": "fast"},
        {"units": (("input_characters", 5),)},
        {"may_be_awaited": True},
        {"is_session": True},
        {"endpoint": "images_generate"},
        {"model": "nobody-knows-it"},
    ],
    ids=lambda more: next(iter(more)),
)
async def test_what_is_more_than_money_known_at_once_has_no_lease(
    ledger_process: LedgerProcess, more: dict[str, Any]
) -> None:
    async with caller(ledger_process) as one:
        for number in range(40):
            answer = await one.reserve(request(f"g-{number}", WIDE, **more))
            assert isinstance(answer, Granted)
            assert answer.lease == ""
        assert not any("/" in each.exchange for each in open_reservations(ledger_process.database))


async def test_what_was_admitted_is_never_more_than_what_is_held_for_it(ledger_process: LedgerProcess) -> None:
    async with caller(ledger_process) as one:
        for count in range(1, MANY + 1):
            assert isinstance(await one.ask(), Granted)
            if count % 50 == 0:
                assert committed(ledger_process)[1] >= count * NEED


async def test_what_is_left_in_a_lease_comes_back_when_it_lies_idle(ledger_process: LedgerProcess) -> None:
    async with caller(ledger_process) as one:
        granted = await one.warm_up()
        assert committed(ledger_process)[1] > len(granted) * NEED
        await until(lambda: committed(ledger_process) == (0, len(granted) * NEED), within_s=4 * IDLE_S + 5)


async def test_a_gateway_that_ends_leaves_nothing_behind(ledger_process: LedgerProcess) -> None:
    async with caller(ledger_process) as one:
        granted = await one.warm_up()
    await until(lambda: committed(ledger_process) == (0, len(granted) * NEED))
    with SyncLedgerClient(ledger_process.socket) as recorder:
        over = recorder.draw([Draw(0, granted[-1].lease, NEED, 99)])
        assert over == (granted[-1].lease,)
    assert committed(ledger_process) == (99, (len(granted) - 1) * NEED)


async def test_what_a_lease_admitted_and_was_not_dispatched_is_given_back(ledger_process: LedgerProcess) -> None:
    async with caller(ledger_process) as one:
        granted = await one.warm_up()
        one.client.release(f"g-{one.count}")
        one.client.finish("g-1")
    await until(lambda: committed(ledger_process) == (0, (len(granted) - 1) * NEED))


async def test_what_was_not_dispatched_is_given_back_after_its_lease_was_returned(
    ledger_process: LedgerProcess,
) -> None:
    async with caller(ledger_process) as one:
        granted = await one.warm_up()
        one.client.return_leases()
        await until(lambda: committed(ledger_process) == (0, len(granted) * NEED))
        one.client.release(f"g-{one.count}")
        await until(lambda: committed(ledger_process) == (0, (len(granted) - 1) * NEED))


async def test_a_ledger_that_is_started_anew_gets_its_leases_back(ledger_process: LedgerProcess) -> None:
    async with caller(ledger_process) as one:
        granted = await one.warm_up()
        ledger_process.end(signal.SIGKILL)
        await until(lambda: not one.client.is_connected)
        await asyncio.to_thread(ledger_process.start)
        await until(lambda: committed(ledger_process) == (0, len(granted) * NEED))
        answer = await one.ask()
        assert isinstance(answer, Granted)
        assert answer.lease == ""


async def test_a_lease_whose_answer_never_came_is_given_back(ledger_process: LedgerProcess) -> None:
    """The ledger stops in front of the question, hears of it later, and then that nobody waits for it any more."""
    client = LedgerClient(ledger_process.socket, timeout=0.3)
    client.start()
    await client.connected()
    one = Caller(client, "g")
    try:
        for _ in range(7):
            await one.ask()
        ledger_process.send(signal.SIGSTOP)
        assert isinstance(await one.ask(), LedgerUnavailable)
        ledger_process.send(signal.SIGCONT)
        await until(lambda: committed(ledger_process) == (0, 7 * NEED))
    finally:
        await client.close()


async def test_what_another_gateway_has_not_used_refuses_nobody(ledger_process: LedgerProcess) -> None:
    """What is left fits only when the lease is called back; it is, and the request waits for it."""
    line = total(6 * SHARE * NEED)
    async with caller(ledger_process, "one") as one, caller(ledger_process, "two") as two:
        granted = await one.warm_up(line)
        held = committed(ledger_process)[1]
        left = 6 * SHARE * NEED - len(granted) * NEED
        assert held > len(granted) * NEED
        answer = await two.reserve(request("large", line, input_bytes=left // 1000, max_output_tokens=None))
        assert isinstance(answer, Refused), "more than there is"
        answer = await two.reserve(request("fits", line, input_bytes=left // 1000 - 200, owner="two"))
        assert isinstance(answer, Granted)
        assert committed(ledger_process)[1] == len(granted) * NEED + left


async def test_a_cap_is_used_up_to_the_last_request_by_gateways_with_leases(ledger_process: LedgerProcess) -> None:
    """Four gateways race for room for five hundred requests: all that fit are admitted, and not one more."""
    room = 500
    line = total(room * NEED + NEED // 2)
    admitted, leased = 0, 0
    async with (
        caller(ledger_process, "a") as a,
        caller(ledger_process, "b") as b,
        caller(ledger_process, "c") as c,
        caller(ledger_process, "d") as d,
    ):

        async def race(one: Caller) -> None:
            nonlocal admitted, leased
            for _ in range(300):
                answer = await one.ask(line)
                if isinstance(answer, Granted):
                    admitted += 1
                    leased += bool(answer.lease)
                else:
                    assert isinstance(answer, Refused), answer
                spent, reserved = committed(ledger_process)
                assert spent + reserved <= line.limit_nano_usd

        await asyncio.gather(*(race(one) for one in (a, b, c, d)))
        assert admitted == room
        assert leased > 50, "it was no race between leases"
    await until(lambda: committed(ledger_process) == (0, room * NEED))


class Stubborn:
    """A gateway that was given a lease and hears nothing any more."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._socket.settimeout(10)
        self._frames = FrameBuffer(MAX_ANSWER)

    def ask(self, message: Lease | Balance) -> Answer:
        self.say(message)
        return self.hear()

    def say(self, *messages: msgspec.Struct) -> None:
        self._socket.sendall(b"".join(frame(message) for message in messages))

    def hear_no_more(self) -> None:
        """Be gone for whoever sends, before it can be seen."""
        self._socket.shutdown(socket.SHUT_RD)

    def has_heard(self) -> bool:
        """Say whether anything has come."""
        return bool(select([self._socket], [], [], 0)[0])

    def hear(self) -> Answer:
        while True:
            for payload in self._frames.feed(self._socket.recv(65536)):
                answer: Answer = _DECODER.decode(payload)
                return answer

    def close(self) -> None:
        self._socket.close()


async def test_a_gateway_that_does_not_answer_holds_a_refusal_up_for_a_moment_only(
    ledger_process: LedgerProcess,
) -> None:
    line = total(6 * SHARE * NEED)
    stubborn = Stubborn(ledger_process.socket)
    stubborn.ask(Lease(1, "s/1", request("x", line, owner="s"), 5))
    async with caller(ledger_process) as one:
        started = time.monotonic()
        answer = await one.ask(line, input_bytes=6 * SHARE * NEED // 1000 - 1000)
        assert isinstance(answer, Refused)
        assert time.monotonic() - started >= RECALL_S * 0.9
        assert stubborn.hear() == Recall(0, "s/1")
        assert isinstance(await one.ask(line), Granted)
        stubborn.close()


async def test_a_refusal_does_not_wait_for_a_gateway_that_is_gone(ledger_process: LedgerProcess) -> None:
    """What it had is settled from its journal, or given back: the recorder says which."""
    line = total(6 * SHARE * NEED)
    stubborn = Stubborn(ledger_process.socket)
    stubborn.ask(Lease(1, "s/1", request("x", line, owner="s"), 5))
    stubborn.close()
    async with caller(ledger_process) as one:
        large = 6 * SHARE * NEED // 1000 - 1000
        assert isinstance(await one.ask(line, input_bytes=large), Refused)
        with SyncLedgerClient(ledger_process.socket) as recorder:
            recorder.release(["s/1"])
        assert isinstance(await one.ask(line, input_bytes=large), Granted)


@pytest.mark.parametrize("is_in_one_turn", [True, False])
async def test_a_request_that_is_given_up_while_leases_are_called_back_holds_nothing(
    ledger_process: LedgerProcess, is_in_one_turn: bool
) -> None:
    """Its gateway has said so before the lease came back, so nobody would ever give back what it got then."""
    line = total(6 * SHARE * NEED)
    lender, asker = Stubborn(ledger_process.socket), Stubborn(ledger_process.socket)
    lender.ask(Lease(1, "s/1", request("x", line, owner="s"), 5))
    large, given_up = request("large", line, input_bytes=6 * SHARE * NEED // 1000 - 1000), Release("large")
    asker.say(*((large, given_up) if is_in_one_turn else (large,)))
    assert lender.hear() == Recall(0, "s/1")
    if not is_in_one_turn:
        asker.say(given_up)
    assert asker.ask(Balance(8, (line,))).ticket == 8, "it has heard all that came before"
    lender.say(Return("s/1", 0))
    assert lender.ask(Balance(9, (line,))).ticket == 9
    await asyncio.sleep(2 * RECALL_S)
    assert committed(ledger_process) == (0, 0)
    asker.say(large)
    answer = asker.hear()
    assert isinstance(answer, Granted), "it may ask again"
    lender.close()
    asker.close()


async def test_a_gateway_that_ends_while_its_leases_are_called_back_does_not_take_the_ledger_along(
    ledger_process: LedgerProcess,
) -> None:
    line = total(6 * SHARE * NEED)
    dying = Stubborn(ledger_process.socket)
    for number in range(3):
        dying.ask(Lease(1, f"s/{number}", request("x", line, owner="s"), 4))
    dying.hear_no_more()
    async with caller(ledger_process) as one:
        large = 6 * SHARE * NEED // 1000 - 1000
        assert isinstance(await one.ask(line, input_bytes=large), Refused)
        assert isinstance(await one.ask(line), Granted)
    dying.close()


async def test_a_caller_whose_budget_is_used_up_takes_no_lease_from_others_under_the_same_one(
    ledger_process: LedgerProcess,
) -> None:
    """Of a budget that each has for itself."""

    def share(scope: str) -> BudgetLine:
        return BudgetLine("each", scope, 6 * SHARE * NEED, True, 0, None)

    lender = Stubborn(ledger_process.socket)
    lender.ask(Lease(1, "s/1", request("x", share("frugal"), owner="s"), 5))
    async with caller(ledger_process) as one:
        for line, is_called in ((share("spent"), False), (share("frugal"), True)):
            answer = await one.ask(line, input_bytes=6 * SHARE * NEED // 1000)
            assert isinstance(answer, Refused)
            assert lender.has_heard() is is_called
    lender.close()


def test_a_lease_that_cannot_be_used_any_more_is_returned_however_often_more_of_it_is_asked_for() -> None:
    """Near the cap nothing more is granted, and what was granted may not be used for ever."""
    answers: list[Leased] = [Leased(0, 100 * NEED, None, Tariff(100, 100, NEED, 1, False))]
    returned: list[tuple[str, int]] = []

    def ask(message: Lease, answer: Callable[[Leased | None], None]) -> None:
        answer(answers.pop() if answers else Leased(message.ticket, 0, None, None))

    wallet = Wallet(ask, lambda lease, used: returned.append((lease, used)))
    admitted = 0
    for tick in range(400):
        now = tick / 100
        admitted += (
            wallet.admit(request(f"g-{tick}", WIDE, max_output_tokens=1 if now < 0.5 else 10**9), now) is not None
        )
        if tick % 50 == 0:
            wallet.tidy(now)
    assert 0 < admitted < 100
    [(lease, used), *later] = returned
    assert lease == "gateway/1"
    assert used >= admitted * NEED
    assert not any(amount for _, amount in later)


async def test_what_is_lent_under_any_of_its_budgets_refuses_no_request(ledger_process: LedgerProcess) -> None:
    """The tightest refuses first, and when it has called its leases back another one is the tightest."""
    whole = 6 * SHARE * NEED
    key, team = total(whole, "key"), total(whole, "team")
    first, second, asker = (Stubborn(ledger_process.socket) for _ in range(3))
    first.ask(Lease(1, "f/1", request("x", key, owner="f"), 5))
    second.ask(Lease(1, "s/1", request("x", team, owner="s"), 4))
    asker.say(request("all of it", key, team, input_bytes=whole // 1000, endpoint="embeddings"))
    assert first.hear() == Recall(0, "f/1")
    first.say(Return("f/1", 0))
    assert second.hear() == Recall(0, "s/1")
    second.say(Return("s/1", 0))
    answer = asker.hear()
    assert isinstance(answer, Granted), answer
    assert answer.reserved_nano_usd == whole
    for each in (first, second, asker):
        each.close()


async def test_a_ledger_that_was_started_anew_refuses_nobody_before_gateways_could_return_their_leases(
    ledger_process: LedgerProcess,
) -> None:
    """They find it within half a second, and one may find it before another."""
    whole = 6 * SHARE * NEED
    line = total(whole)
    lender = Stubborn(ledger_process.socket)
    lender.ask(Lease(1, "s/1", request("x", line, owner="s"), 5))
    lender.close()
    ledger_process.end(signal.SIGKILL)
    await asyncio.to_thread(ledger_process.start)
    asker = Stubborn(ledger_process.socket)
    asker.say(request("all of it", line, input_bytes=whole // 1000, endpoint="embeddings"))
    await asyncio.sleep(0.3)
    lender = Stubborn(ledger_process.socket)
    lender.say(Return("s/1", 0))
    answer = asker.hear()
    assert isinstance(answer, Granted), answer
    lender.close()
    asker.close()
