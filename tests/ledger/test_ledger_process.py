"""The ledger as a process, with real clients, kills and stops."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import quantiles

import apsw
import msgspec
import pytest

from proxy.errors import EnvironmentUnusable, LedgerUnavailable
from proxy.ledger.client import TIMEOUT_S, Decision, LedgerClient, SyncLedgerClient
from proxy.ledger.framing import MAX_REQUEST, FrameBuffer, frame
from proxy.ledger.ledger import Ledger
from proxy.ledger.reading import read_accounts
from proxy.ledger.server import serve
from proxy.reservations import Balance, BudgetLine, Finish, Granted, RateRule, Refused, Request, Reserve, Settle
from tests.harness.process import ROOT, wait_until
from tests.ledger.ledger_under_test import LedgerProcess, running_ledger
from tests.ledger.scenes import DOLLAR, NEED, open_reservations, price_book, request, total
from tests.ledger.throughput import ledger_throughput


@pytest.fixture
def ledger_process() -> Iterator[LedgerProcess]:
    with running_ledger() as process:
        yield process


class Racers:
    """Client processes that all start at the same moment."""

    def __init__(self, socket_path: Path, number: int, count: int, limit: int) -> None:
        command = [sys.executable, "-m", "tests.ledger.racing_client", str(socket_path)]
        self._stack = ExitStack()
        self.processes = [
            self._stack.enter_context(
                subprocess.Popen(
                    [*command, f"racer{index}", str(count), str(limit)],
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
            )
            for index in range(number)
        ]

    def __enter__(self) -> Racers:
        for process in self.processes:
            assert process.stdout is not None
            assert process.stdout.readline() == b"connected\n"
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write(b"go\n")
            process.stdin.flush()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
        self._stack.close()

    def first_answers(self, count: int) -> dict[str, str]:
        """Return the next `count` answers of the first racer."""
        output = self.processes[0].stdout
        assert output is not None
        return dict(json.loads(output.readline()) for _ in range(count))

    def answers(self) -> dict[str, str]:
        """Return all the answers there are when everyone has ended."""
        found: dict[str, str] = {}
        for process in self.processes:
            assert process.stdout is not None
            found.update(json.loads(line) for line in process.stdout)
            assert process.wait(30) == 0
        return found


def test_a_cap_for_a_hundred_admits_exactly_a_hundred_of_a_thousand(ledger_process: LedgerProcess) -> None:
    with Racers(ledger_process.socket, number=4, count=250, limit=100 * NEED) as racers:
        answers = racers.answers()
    assert len(answers) == 1000
    assert sorted(answers.values()) == ["granted"] * 100 + ["refused"] * 900
    (account,) = read_accounts(ledger_process.database)
    assert (account.spent_nano_usd, account.reserved_nano_usd) == (0, 100 * NEED)
    granted = {exchange for exchange, answer in answers.items() if answer == "granted"}
    assert {entry.exchange for entry in open_reservations(ledger_process.database)} == granted


@pytest.mark.case(39)
def test_whatever_was_granted_survives_a_kill(ledger_process: LedgerProcess) -> None:
    with Racers(ledger_process.socket, number=4, count=1500, limit=5000 * NEED) as racers:
        answers = racers.first_answers(100)
        ledger_process.end(signal.SIGKILL)
        answers |= racers.answers()
    ledger_process.start()
    granted = {exchange for exchange, answer in answers.items() if answer == "granted"}
    unavailable = {exchange for exchange, answer in answers.items() if answer == "unavailable"}
    held = {entry.exchange for entry in open_reservations(ledger_process.database)}
    assert len(answers) == 6000
    assert unavailable, "the kill came too late to interrupt anything"
    assert granted <= held <= granted | unavailable
    (account,) = read_accounts(ledger_process.database)
    assert account.reserved_nano_usd == len(held) * NEED
    with SyncLedgerClient(ledger_process.socket) as client:
        client.settle([Settle(0, exchange, NEED - 1) for exchange in sorted(held)])
        (balance,) = client.balance([total(5000 * NEED)])
    assert (balance.spent_nano_usd, balance.reserved_nano_usd) == (len(held) * (NEED - 1), 0)


def test_sigterm_ends_the_ledger_in_good_order(ledger_process: LedgerProcess) -> None:
    assert stat.S_IMODE(ledger_process.socket.stat().st_mode) == 0o600
    assert ledger_process.end(signal.SIGTERM) == 0
    assert not ledger_process.socket.exists()


def test_a_socket_path_that_cannot_be_is_a_clear_error(path: Path) -> None:
    ledger = Ledger(path, price_book())
    with pytest.raises(EnvironmentUnusable, match="ledger socket"):
        serve(path.parent / ("x" * 200), ledger, stop=0)
    ledger.close()


# The client of gateways


class Asked:
    """Turns callbacks into something to await."""

    def __init__(self, client: LedgerClient) -> None:
        self.client = client

    async def reserve(self, message: Reserve) -> Decision:
        answer: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        self.client.reserve(message, answer.set_result)
        return await answer

    async def extend(self, exchange: str, tokens: int) -> Decision:
        answer: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        self.client.extend(exchange, tokens, answer.set_result)
        return await answer

    async def reserved(self, line: BudgetLine) -> int:
        """Return what the ledger holds under `line`. Messages keep their order, so all earlier ones are done."""
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.client.balance([line], lambda found: answer.set_result(_reserved(found)))
        return await answer


def _reserved(found: object) -> int:
    assert not isinstance(found, LedgerUnavailable), found
    return int(found.accounts[0].reserved_nano_usd)  # type: ignore[attr-defined]  # checked to be Balances


async def connect(ledger_process: LedgerProcess, patience_s: float = 5.0) -> Asked:
    client = LedgerClient(ledger_process.socket, timeout=patience_s, leases=False)
    client.start()
    await client.connected()
    return Asked(client)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - what is waited for is another process
            await asyncio.sleep(0.01)


async def test_a_gateway_reserves_extends_finishes_and_releases(ledger_process: LedgerProcess) -> None:
    line = total(DOLLAR)
    asked = await connect(ledger_process)
    answers = await asyncio.gather(*(asked.reserve(request(f"x{number}", line)) for number in range(50)))
    assert all(isinstance(answer, Granted) for answer in answers)
    assert await asked.reserved(line) == 50 * NEED
    stream = await asked.reserve(request("s", line, max_output_tokens=5000, is_sliced=True))
    assert isinstance(stream, Granted)
    grown = await asked.extend("s", 1500)
    assert isinstance(grown, Granted)
    assert grown.output_tokens == 2048
    asked.client.release("s")
    for number in range(50):
        asked.client.release(f"x{number}")
    assert await asked.reserved(line) == 0
    await asked.client.close()


async def test_a_gateway_that_goes_away_frees_its_slots(ledger_process: LedgerProcess) -> None:
    rates = (RateRule("key", concurrent=1),)
    first, second = await connect(ledger_process), await connect(ledger_process)
    assert isinstance(await first.reserve(request("a", rates=rates)), Granted)
    assert isinstance(await second.reserve(request("b", rates=rates)), Refused)
    await first.client.close()
    async with asyncio.timeout(10):
        while not isinstance(await second.reserve(request("c", rates=rates)), Granted):
            pass
    await second.client.close()


async def test_only_what_is_counted_as_concurrent_is_said_to_be_over(tmp_path: Path) -> None:
    heard: list[Request] = []
    ended = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames, decoder = FrameBuffer(MAX_REQUEST), msgspec.msgpack.Decoder(Request)
        while data := await reader.read(2**16):
            for message in map(decoder.decode, frames.feed(data)):
                heard.append(message)
                if isinstance(message, Reserve):
                    writer.write(frame(Granted(message.ticket, 0, None, None)))
        writer.close()
        await writer.wait_closed()
        ended.set()

    server = await asyncio.start_unix_server(listen, tmp_path / "s")
    client = LedgerClient(tmp_path / "s")
    client.start()
    await client.connected()
    asked = Asked(client)
    await asked.reserve(request("budget", total(DOLLAR)))
    await asked.reserve(request("rate", rates=(RateRule("key", concurrent=1),)))
    client.finish("budget")
    client.finish("rate")
    await until(lambda: bool([message for message in heard if isinstance(message, Finish)]))
    assert [message for message in heard if isinstance(message, Finish)] == [Finish("rate")]
    await client.close()
    await ended.wait()
    server.close()
    await server.wait_closed()


async def test_without_a_ledger_every_request_is_refused_at_once(tmp_path: Path) -> None:
    client = LedgerClient(tmp_path / "nobody")
    client.start()
    async with asyncio.timeout(1):
        assert isinstance(await Asked(client).reserve(request("a", total(1))), LedgerUnavailable)
    await client.close()


async def test_an_answer_that_comes_too_late_is_taken_back(ledger_process: LedgerProcess) -> None:
    line = total(DOLLAR)
    asked = await connect(ledger_process, patience_s=0.2)
    ledger_process.send(signal.SIGSTOP)
    assert isinstance(await asked.reserve(request("a", line)), LedgerUnavailable)
    assert isinstance(await asked.extend("a", 5), LedgerUnavailable)
    assert asked.client.is_connected
    await asked.client.close()
    ledger_process.send(signal.SIGCONT)
    other = await connect(ledger_process)
    granted = await other.reserve(request("b", line))
    assert isinstance(granted, Granted)
    await until(lambda: [entry.exchange for entry in open_reservations(ledger_process.database)] == ["b"])
    await other.client.close()


async def test_a_gateway_finds_its_way_back_and_gives_back_what_it_could_not(ledger_process: LedgerProcess) -> None:
    line = total(DOLLAR)
    asked = await connect(ledger_process)
    assert isinstance(await asked.reserve(request("a", line)), Granted)
    assert isinstance(await asked.reserve(request("b", line)), Granted)
    ledger_process.end(signal.SIGKILL)
    await until(lambda: not asked.client.is_connected)
    assert isinstance(await asked.reserve(request("c", line)), LedgerUnavailable)
    asked.client.release("a")
    asked.client.finish("b")
    await asyncio.to_thread(ledger_process.start)
    await until(lambda: asked.client.is_connected)
    assert await asked.reserved(line) == NEED
    assert [entry.exchange for entry in open_reservations(ledger_process.database)] == ["b"]
    await asked.client.close()


async def test_what_was_pending_when_the_connection_broke_is_released_later(ledger_process: LedgerProcess) -> None:
    line = total(DOLLAR)
    asked = await connect(ledger_process)
    other = await connect(ledger_process)
    ledger_process.send(signal.SIGSTOP)
    pending = asyncio.ensure_future(asked.reserve(request("a", line)))
    await asyncio.sleep(0)  # the request is written; nobody reads it yet
    await asyncio.sleep(0)
    asked.client._transport.abort()  # type: ignore[union-attr]  # connected above
    assert isinstance(await pending, LedgerUnavailable)
    ledger_process.send(signal.SIGCONT)
    await until(lambda: asked.client.is_connected)
    await asked.reserved(line)
    assert await other.reserved(line) == 0
    await asked.client.close()
    await other.client.close()


async def test_a_release_that_the_ledger_never_read_is_said_again(ledger_process: LedgerProcess) -> None:
    line = total(DOLLAR)
    asked = await connect(ledger_process, patience_s=30)
    for exchange in ("a", "b"):
        assert isinstance(await asked.reserve(request(exchange, line)), Granted)
    ledger_process.send(signal.SIGSTOP)
    asked.client.release("a")
    await asyncio.sleep(0)  # written to a socket that nobody reads any more
    await asyncio.sleep(0)
    ledger_process.send(signal.SIGKILL)  # not `end`, which would let it go on first
    ledger_process.end(signal.SIGKILL)
    await asyncio.to_thread(ledger_process.start)
    assert await asked.reserved(line) == NEED
    assert [entry.exchange for entry in open_reservations(ledger_process.database)] == ["b"]
    await asked.client.close()


async def test_a_ledger_that_is_started_anew_is_waited_for_longer_than_an_answer(ledger_process: LedgerProcess) -> None:
    line = total(DOLLAR)
    asked = await connect(ledger_process, patience_s=0.5)
    assert isinstance(await asked.reserve(request("a", line)), Granted)
    ledger_process.end(signal.SIGKILL)
    await until(lambda: not asked.client.is_connected)
    pending = asyncio.ensure_future(asked.reserve(request("b", line)))
    await asyncio.sleep(1.5)
    assert not pending.done()
    await asyncio.to_thread(ledger_process.start)
    assert isinstance(await pending, Granted)
    assert await asked.reserved(line) == 2 * NEED
    await asked.client.close()


async def test_however_often_the_connection_breaks_a_request_reserves_once_and_keeps_what_it_was_granted(
    ledger_process: LedgerProcess,
) -> None:
    line = total(DOLLAR)
    asked = await connect(ledger_process, patience_s=30)
    ledger_process.send(signal.SIGSTOP)
    pending = asyncio.ensure_future(asked.reserve(request("a", line)))
    for _ in range(2):
        await asyncio.sleep(0.01)
        ledger_process.end(signal.SIGKILL)
        await asyncio.to_thread(ledger_process.start)
    assert isinstance(await pending, Granted)
    assert await asked.reserved(line) == NEED
    ledger_process.end(signal.SIGKILL)
    await asyncio.to_thread(ledger_process.start)
    assert await asked.reserved(line) == NEED, "what is under way was given back"
    await asked.client.close()


async def test_a_reservation_whose_answer_was_lost_is_not_made_twice(tmp_path: Path) -> None:
    """The ledger commits and its answer never arrives: the second answer is the first one's reservation, not another."""
    ledger, line = Ledger(tmp_path / "ledger.db", price_book()), total(DOLLAR)
    connections: list[list[str]] = []
    ended = asyncio.Semaphore(0)

    async def attend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames, heard = FrameBuffer(MAX_REQUEST), list[str]()
        connections.append(heard)
        is_first = len(connections) == 1
        while data := await reader.read(65536):
            messages = [msgspec.msgpack.decode(payload, type=Request) for payload in frames.feed(data)]
            heard += [type(message).__name__ for message in messages]
            for answer in ledger.handle(messages):
                if answer is not None and not is_first:
                    writer.write(frame(answer))
            if is_first:
                break
        writer.close()
        await writer.wait_closed()
        ended.release()

    server = await asyncio.start_unix_server(attend, tmp_path / "s")
    client = LedgerClient(tmp_path / "s", timeout=30)
    client.start()
    await client.connected()
    asked = Asked(client)
    assert isinstance(await asked.reserve(request("a", line)), Granted)
    assert await asked.reserved(line) == NEED
    assert connections == [["Reserve"], ["Release", "Reserve", "Balance"]]
    await client.close()
    for _ in connections:
        await ended.acquire()
    server.close()
    ledger.close()


async def test_while_another_program_locks_the_database_gateways_hear_no_after_two_seconds(
    ledger_process: LedgerProcess,
) -> None:
    line, other = total(DOLLAR), apsw.Connection(str(ledger_process.database))
    asked = await connect(ledger_process, patience_s=TIMEOUT_S)
    assert isinstance(await asked.reserve(request("before", line)), Granted)
    other.execute("BEGIN EXCLUSIVE")
    started = time.monotonic()
    answers = await asyncio.gather(*(asked.reserve(request(f"x{number}", line)) for number in range(20)))
    waited_s = time.monotonic() - started
    other.execute("ROLLBACK")
    other.close()
    assert {type(answer) for answer in answers} == {LedgerUnavailable}
    assert TIMEOUT_S - 0.1 < waited_s < TIMEOUT_S + 2
    await until(lambda: asked.client.is_connected)
    assert isinstance(await asked.reserve(request("after", line)), Granted)
    assert await asked.reserved(line) == 2 * NEED
    await asked.client.close()


# The blocking client


def test_the_recorder_settles_lists_and_releases(ledger_process: LedgerProcess) -> None:
    line = total(10 * DOLLAR)
    with SyncLedgerClient(ledger_process.socket) as client, Raw(ledger_process.socket) as gateway:
        gateway.ask([request(f"x{number:04}", line, owner="one") for number in range(1000)])
        gateway.ask([request("other", line, owner="two")])
        assert [entry.exchange for entry in client.open("two")] == ["other"]
        assert len(client.open("one")) == 1000
        client.settle([Settle(0, f"x{number:04}", 10) for number in range(900)])
        client.release([f"x{number:04}" for number in range(900, 1000)])
        assert [entry.exchange for entry in client.open()] == ["other"]
        (account,) = client.balance([line])
    assert (account.spent_nano_usd, account.reserved_nano_usd) == (9000, NEED)


def test_the_blocking_client_recovers_when_the_ledger_does(ledger_process: LedgerProcess) -> None:
    with SyncLedgerClient(ledger_process.socket) as client:
        assert client.open() == ()
        ledger_process.end(signal.SIGKILL)
        with pytest.raises(LedgerUnavailable):
            client.settle([Settle(0, "a", 1)])
        with pytest.raises(LedgerUnavailable):
            client.open()
        ledger_process.start()
        client.settle([Settle(0, "a", 1)])


# Bad company


class Raw:
    """A connection without manners."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(20)
        self._socket.connect(str(path))

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def ask(self, messages: Sequence[Reserve]) -> None:
        """Send `messages` and wait for as many answers."""
        frames, count = FrameBuffer(2**20), 0
        self.send(b"".join(frame(message) for message in messages))
        while count < len(messages):
            count += len(list(frames.feed(self._socket.recv(2**16))))

    def is_closed(self) -> bool:
        try:
            return self._socket.recv(1) == b""
        except ConnectionResetError:
            return True


@pytest.mark.parametrize(
    "garbage",
    [
        struct.pack("<I", 2**20 + 1),
        struct.pack("<I", 0),
        struct.pack("<I", 3) + b"\xc1\xc1\xc1",
        struct.pack("<I", 4) + b"\x93\xa1x\x01",
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack("<I", 100_000) + b"\x91" * 100_000,
    ],
    ids=["too long", "empty", "not msgpack", "unknown message", "http", "deep"],
)
def test_a_peer_that_sends_garbage_loses_its_connection_and_nobody_else_does(
    ledger_process: LedgerProcess, garbage: bytes
) -> None:
    with SyncLedgerClient(ledger_process.socket) as client, Raw(ledger_process.socket) as raw:
        assert client.open() == ()
        raw.send(garbage)
        assert raw.is_closed()
        connection = client._socket
        assert client.open() == ()
        assert client._socket is connection


def test_a_frame_that_arrives_byte_by_byte_is_understood(ledger_process: LedgerProcess) -> None:
    with Raw(ledger_process.socket) as raw:
        for byte in frame(request("a", total(DOLLAR))):
            raw.send(bytes([byte]))
        wait_until(lambda: open_reservations(ledger_process.database), "the reservation")


def test_a_peer_that_never_reads_holds_up_nobody(ledger_process: LedgerProcess) -> None:
    lines = tuple(total(1, f"budget-{number}") for number in range(1000))
    question = frame(Balance(1, lines))
    with Raw(ledger_process.socket) as raw, SyncLedgerClient(ledger_process.socket) as client:
        raw._socket.settimeout(3)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 300:
                raw.send(question)
                sent += 1
        assert 0 < sent < 300  # the ledger has stopped to read: this peer's answers pile up no further
        started = time.monotonic()
        assert client.open() == ()
        assert time.monotonic() - started < 5


# Figures


async def test_a_busy_ledger_commits_in_groups(
    ledger_process: LedgerProcess, record_property: Callable[[str, object], None]
) -> None:
    """Bounds are a tenth of what two busy cores do; the figures are for the report."""
    line = total(10_000 * DOLLAR)
    asked = await connect(ledger_process, patience_s=30)
    waits = []
    for number in range(200):
        started = time.perf_counter()
        assert isinstance(await asked.reserve(request(f"single{number}", line)), Granted)
        waits.append((time.perf_counter() - started) * 1000)
    percentiles = quantiles(waits, n=100)
    started = time.perf_counter()
    answers = await asyncio.gather(*(asked.reserve(request(f"many{number}", line)) for number in range(4000)))
    rate = len(answers) / (time.perf_counter() - started)
    assert all(isinstance(answer, Granted) for answer in answers)
    record_property("reserves_per_second", round(rate))
    record_property("single_p50_ms", round(percentiles[49], 2))
    record_property("single_p99_ms", round(percentiles[98], 2))
    if os.environ.get("LEDGER_FIGURES"):
        print(f"\n{rate:.0f}/s, single p50 {percentiles[49]:.2f} ms p99 {percentiles[98]:.2f} ms")
    assert rate > 300
    await asked.client.close()


def test_four_gateways_at_once_get_equal_shares_and_none_is_kept_waiting(
    record_property: Callable[[str, object], None],
) -> None:
    """Bounds are far below what an idle machine does; the figures are for the report."""
    figures = ledger_throughput(seconds=1.0)
    for name, figure in figures.items():
        record_property(name, figure)
    print(figures)
    assert figures["reserves_per_second"] > 300
    assert figures["max_ms"] < 10_000
    assert figures["fewest"] * 3 > figures["most"]
