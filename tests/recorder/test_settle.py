from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxy.boot import boot_id
from proxy.config import Config
from proxy.journal import JournalWriter
from proxy.ledger.client import SyncLedgerClient
from proxy.ledger.framing import MAX_ANSWER, FrameBuffer, frame
from proxy.recorder import Recorder
from proxy.recorder.bills import Bills
from proxy.recorder.interpret import Interpreter
from proxy.reservations import BudgetLine, Lease, Leased, Reserve, Return
from proxy.store import SqliteStore
from tests.harness.process import wait_until
from tests.recorder.builders import ANSWER_NANO_USD, PROMPT, interpreter, make_begin, make_end, write_chat
from tests.recorder.processes import end, kill, ledger, start_ready

LINE = BudgetLine("search-team/0", "", 10**12, True, 0, None)


class LedgerUnderTest:
    """A real ledger in a process of its own."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.path = data_dir / "run" / "ledger.sock"
        self.process: object = None

    def start(self) -> None:
        self.process = start_ready(ledger, self.data_dir, Config())
        wait_until(self._answers, "the ledger's socket")

    def kill(self) -> None:
        kill(self.process)  # type: ignore[arg-type]  # a process since `start`

    def stop(self) -> None:
        end(self.process)  # type: ignore[arg-type]

    def reserve(self, exchange: str, owner: str) -> None:
        message = Reserve(
            ticket=1,
            exchange=exchange,
            owner=owner,
            model="gpt-4o-mini",
            provider="openai",
            is_free=False,
            endpoint="chat",
            input_bytes=len(PROMPT),
            max_output_tokens=200_000,
            choices=1,
            is_sliced=False,
            tier=None,
            lines=(LINE,),
            rates=(),
        )
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.path))
            connection.sendall(frame(message))
            buffer = FrameBuffer(MAX_ANSWER)
            while not list(buffer.feed(connection.recv(65536))):
                pass

    def lend(self, lease: str, owner: str) -> int:
        """Let a gateway have a lease that dies with its connection; return what it holds."""
        like = Reserve(
            ticket=1,
            exchange="like",
            owner=owner,
            model="gpt-4o-mini",
            provider="openai",
            is_free=False,
            endpoint="chat",
            input_bytes=1000,
            max_output_tokens=1000,
            choices=1,
            is_sliced=False,
            tier=None,
            lines=(LINE,),
            rates=(),
        )
        with SyncLedgerClient(self.path) as client:
            client._ticket = 1
            client._send([Lease(1, lease, like, 10)])
            [answer] = client._receive(1)
        assert isinstance(answer, Leased)
        assert answer.nano_usd
        return answer.nano_usd

    def take_back(self, lease: str, used: int) -> None:
        with SyncLedgerClient(self.path) as client:
            client._send([Return(lease, used)])
            client.balance(())

    def held(self) -> int:
        with SyncLedgerClient(self.path) as client:
            return sum(account.reserved_nano_usd for account in client.balance([LINE]))

    def open(self) -> set[str]:
        with SyncLedgerClient(self.path) as client:
            return {each.exchange for each in client.open()}

    def spent(self) -> int:
        with SyncLedgerClient(self.path) as client:
            return sum(account.spent_nano_usd for account in client.balance([LINE]))

    def _answers(self) -> bool:
        try:
            self.open()
        except Exception:  # noqa: BLE001 - whatever it is, the ledger is not there yet
            return False
        return True


@pytest.fixture
def ledger_(tmp_path: Path) -> Iterator[LedgerUnderTest]:
    made = LedgerUnderTest(tmp_path)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[JournalWriter]:
    writer = JournalWriter(tmp_path / "journal", "gateway-0")
    yield writer
    writer.close()


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    made = make_recorder(tmp_path)
    yield made
    made.close()


def make_recorder(data_dir: Path, boot: str | None = None) -> Recorder:
    store = SqliteStore(data_dir / "records.db")
    return Recorder(
        data_dir / "journal",
        store,
        Interpreter(interpreter()._book, Config(), Bills(store.bills)),
        SyncLedgerClient(data_dir / "run" / "ledger.sock"),
        Config(),
        stop=threading.Event(),
        boot=boot,
    )


def reserved_chat(ledger_: LedgerUnderTest, journal: JournalWriter, name: str) -> None:
    ledger_.reserve(name, journal.name)
    write_chat(journal, make_begin(id=name, is_reserved=True))


def test_a_reserved_exchange_is_settled_at_its_cost_with_its_batch(
    ledger_: LedgerUnderTest, journal: JournalWriter, recorder: Recorder
) -> None:
    recorder.step()
    for index in range(5):
        reserved_chat(ledger_, journal, f"id-{index}")
    assert len(ledger_.open()) == 5
    recorder.step()
    assert ledger_.open() == set()
    assert ledger_.spent() == 5 * ANSWER_NANO_USD


def test_settlements_are_passed_on_together_and_the_last_when_the_recorder_ends(
    ledger_: LedgerUnderTest, journal: JournalWriter, tmp_path: Path
) -> None:
    recorder = make_recorder(tmp_path)
    recorder.step()
    reserved_chat(ledger_, journal, "first")
    recorder.step()
    assert ledger_.open() == set()
    reserved_chat(ledger_, journal, "second")
    recorder.step()
    recorder.close()
    assert ledger_.open() == set()
    assert ledger_.spent() == 2 * ANSWER_NANO_USD


TAKEN = 50_000


def lent_chat(journal: JournalWriter, name: str, lease: str = "lease", taken: int = TAKEN) -> None:
    write_chat(journal, make_begin(id=name, is_reserved=True, lease=(lease, taken)))


def test_what_a_lease_admitted_is_drawn_from_it_at_its_cost(
    ledger_: LedgerUnderTest, journal: JournalWriter, recorder: Recorder
) -> None:
    recorder.step()
    held = ledger_.lend("lease", journal.name)
    for index in range(5):
        lent_chat(journal, f"id-{index}")
    recorder.step()
    assert ledger_.spent() == 5 * ANSWER_NANO_USD
    assert ledger_.held() == held - 5 * TAKEN
    ledger_.take_back("lease", used=6 * TAKEN)
    assert ledger_.held() == TAKEN, "one more is under way"
    lent_chat(journal, "last")
    step_until(recorder, lambda: not ledger_.open())
    assert (ledger_.spent(), ledger_.held()) == (6 * ANSWER_NANO_USD, 0)
    step_until(recorder, lambda: not leases_stored(recorder))


def test_a_lease_that_is_returned_when_all_of_it_is_settled_is_forgotten(
    ledger_: LedgerUnderTest, journal: JournalWriter, recorder: Recorder
) -> None:
    """As most are: its last request is long settled when it has lain idle for a second, and none comes after that."""
    recorder.step()
    ledger_.lend("lease", journal.name)
    lent_chat(journal, "only")
    recorder.step()
    assert leases_stored(recorder)
    ledger_.take_back("lease", used=TAKEN)
    assert ledger_.open() == set()
    step_until(recorder, lambda: not leases_stored(recorder))


def test_what_was_drawn_while_the_ledger_was_away_is_drawn_once_when_it_is_back(
    ledger_: LedgerUnderTest, journal: JournalWriter, tmp_path: Path
) -> None:
    """Told by two recorders, one of which died without a word from the ledger."""
    held = ledger_.lend("lease", journal.name)
    for number in range(2):
        recorder = make_recorder(tmp_path)
        recorder.step()
        ledger_.kill()
        lent_chat(journal, f"id-{number}")
        recorder.step()
        recorder.close()
        ledger_.start()
    recorder = make_recorder(tmp_path)
    step_until(recorder, lambda: ledger_.spent() > 0)
    assert (ledger_.spent(), ledger_.held()) == (2 * ANSWER_NANO_USD, held - 2 * TAKEN)
    recorder.close()


def test_the_lease_of_a_gateway_that_died_is_given_back_but_for_what_it_sent_on(
    ledger_: LedgerUnderTest, journal: JournalWriter, recorder: Recorder
) -> None:
    """One exchange ended, one was under way, and nobody knows what that cost: what it took is spent."""
    ledger_.lend("lease", journal.name)
    lent_chat(journal, "ended")
    journal.begin(make_begin(id="under way", is_reserved=True, lease=("lease", TAKEN)), b"{}")
    recorder.step()
    journal.close()
    step_until(recorder, lambda: not ledger_.open())
    assert (ledger_.spent(), ledger_.held()) == (ANSWER_NANO_USD + TAKEN, 0)
    step_until(recorder, lambda: not leases_stored(recorder))


def test_what_was_left_of_a_lease_is_spent_after_a_loss_of_power(
    ledger_: LedgerUnderTest, journal: JournalWriter, tmp_path: Path
) -> None:
    """What the machine did last may have left no trace, so nobody can say what the gateway had admitted."""
    held = ledger_.lend("lease", journal.name)
    lent_chat(journal, "recorded")
    journal.close()
    recorder = make_recorder(tmp_path, boot="the next life of the machine")
    step_until(recorder, lambda: not ledger_.open())
    assert (ledger_.spent(), ledger_.held()) == (ANSWER_NANO_USD + held - TAKEN, 0)
    recorder.close()


def test_what_nobody_knows_of_a_lease_any_more_is_spent_when_the_store_is_lost(
    ledger_: LedgerUnderTest, journal: JournalWriter, tmp_path: Path
) -> None:
    """Its gateway lives and goes on, and the segment in which its first requests stood was deleted."""
    held = ledger_.lend("lease", journal.name)
    for index in range(30):
        lent_chat(journal, f"id-{index}")
    journal.rotate()
    assert len(list((tmp_path / "journal").glob("*.journal"))) == 2
    recorder = make_recorder(tmp_path)
    step_until(recorder, lambda: len(list((tmp_path / "journal").glob("*.journal"))) == 1)
    recorder.close()
    assert ledger_.spent() == 30 * ANSWER_NANO_USD
    for path in tmp_path.glob("records.db*"):
        path.unlink()
    lent_chat(journal, "after")
    recorder = make_recorder(tmp_path)
    step_until(recorder, lambda: not ledger_.open())
    assert (ledger_.spent(), ledger_.held()) == (30 * ANSWER_NANO_USD + held - 30 * TAKEN, 0)
    assert not leases_stored(recorder)
    recorder.close()


def test_a_lost_store_costs_nothing_where_the_journal_still_holds_all_of_a_lease(
    ledger_: LedgerUnderTest, journal: JournalWriter, tmp_path: Path
) -> None:
    held = ledger_.lend("lease", journal.name)
    lent_chat(journal, "before")
    recorder = make_recorder(tmp_path)
    step_until(recorder, lambda: ledger_.spent() > 0)
    recorder.close()
    for path in tmp_path.glob("records.db*"):
        path.unlink()
    lent_chat(journal, "after")
    recorder = make_recorder(tmp_path)
    recorder.step()
    assert (ledger_.spent(), ledger_.held()) == (2 * ANSWER_NANO_USD, held - 2 * TAKEN)
    recorder.close()


def step_until(recorder: Recorder, condition: Callable[[], bool]) -> None:
    def step() -> bool:
        recorder.step()
        return condition()

    wait_until(step, "the recorder")


def leases_stored(recorder: Recorder) -> list[tuple[str, int, int]]:
    return recorder._store.drawn(["lease"])


def test_what_was_stored_while_the_ledger_was_away_is_settled_when_it_is_back(
    ledger_: LedgerUnderTest, journal: JournalWriter, recorder: Recorder
) -> None:
    recorder.step()
    for index in range(3):
        reserved_chat(ledger_, journal, f"id-{index}")
    ledger_.kill()
    recorder.step()
    recorder.step()
    ledger_.start()
    assert len(ledger_.open()) == 3
    wait_until(lambda: recorder.step() or not ledger_.open(), "settlement")
    assert ledger_.spent() == 3 * ANSWER_NANO_USD


def test_what_was_stored_and_not_settled_by_a_dead_recorder_is_settled_by_the_next(
    ledger_: LedgerUnderTest, journal: JournalWriter, tmp_path: Path
) -> None:
    first = make_recorder(tmp_path)
    reserved_chat(ledger_, journal, "id")
    # Stored as by a recorder that dies between the commit and the settlement.
    for exchange in first._fold.take(first._reader.poll(1 << 20)):
        first._store.write([interpreter().record(exchange)], first._positions())  # type: ignore[arg-type]  # it is whole
    first.close()
    assert ledger_.open() == {"id"}
    second = make_recorder(tmp_path)
    second.step()
    second.close()
    assert ledger_.open() == set()
    assert ledger_.spent() == ANSWER_NANO_USD


def test_reservations_of_the_living_stay_and_those_of_the_dead_are_decided_by_the_journal(
    ledger_: LedgerUnderTest, journal: JournalWriter, recorder: Recorder, tmp_path: Path
) -> None:
    dying = JournalWriter(tmp_path / "journal", "gateway-1")
    ledger_.reserve("living-without-begin", journal.name)
    ledger_.reserve("dying-without-begin", dying.name)
    ledger_.reserve("of-a-writer-long-forgotten", f"0000000000001-gateway-0-{boot_id()}-00000000")
    ledger_.reserve("dying-dispatched", dying.name)
    dying.begin(make_begin(id="dying-dispatched", is_reserved=True), PROMPT)
    recorder.step()
    assert ledger_.open() == {"living-without-begin", "dying-without-begin", "dying-dispatched"}
    assert ledger_.spent() == 0
    held = reserved_of(ledger_, "dying-dispatched")
    dying.close()
    recorder.step()
    recorder.step()
    assert ledger_.open() == {"living-without-begin"}
    # Nobody knows what was billed for it: the whole reservation is spent, never nothing.
    assert ledger_.spent() == held > 0


@pytest.mark.parametrize("owner", ["0000000000001-gateway-0-an0ther1-00000000", "restored"])
def test_what_was_open_when_the_machine_lost_power_is_spent_though_no_trace_of_it_is_left(
    ledger_: LedgerUnderTest, recorder: Recorder, owner: str
) -> None:
    ledger_.reserve("maybe-dispatched", owner)
    held = reserved_of(ledger_, "maybe-dispatched")
    recorder.step()
    assert ledger_.open() == set()
    assert ledger_.spent() == held > 0


def reserved_of(ledger_: LedgerUnderTest, exchange: str) -> int:
    with SyncLedgerClient(ledger_.path) as client:
        return next(each.reserved_nano_usd for each in client.open() if each.exchange == exchange)


def test_a_reservation_whose_beginning_may_be_in_a_damaged_part_is_spent_and_not_released(
    ledger_: LedgerUnderTest, recorder: Recorder, tmp_path: Path
) -> None:
    torn = JournalWriter(tmp_path / "journal", "gateway-1")
    write_chat(torn)
    ledger_.reserve("maybe-dispatched", torn.name)
    held = reserved_of(ledger_, "maybe-dispatched")
    torn.begin(make_begin(id="maybe-dispatched", is_reserved=True), PROMPT)
    torn.close()
    (segment,) = (tmp_path / "journal").glob("*.journal")
    segment.write_bytes(segment.read_bytes()[:-100])
    for _ in range(3):
        recorder.step()
    assert ledger_.open() == set()
    assert ledger_.spent() == held > 0
    assert not list((tmp_path / "journal").glob("*.journal"))


def test_a_refused_or_failed_request_gives_its_reservation_back(
    ledger_: LedgerUnderTest, journal: JournalWriter, recorder: Recorder
) -> None:
    recorder.step()
    for name, fields in {
        "error": {"status": 503},
        "unreachable": {"outcome": "upstream_error", "status": 502, "dispatched_us": None, "response_head_us": None},
    }.items():
        ledger_.reserve(name, journal.name)
        number = journal.begin(make_begin(id=name, is_reserved=True), PROMPT)
        journal.end(number, make_end(b"{}", **fields), b"{}")  # type: ignore[arg-type]  # fields of an End
    recorder.step()
    assert ledger_.open() == set()
    assert ledger_.spent() == 0


def background(journal: JournalWriter, name: str) -> None:
    request = json.dumps({"model": "gpt-4o-mini", "input": "Hi", "background": True}).encode()
    answer = json.dumps({"id": "resp_1", "object": "response", "status": "queued", "background": True}).encode()
    now_ms = time.time_ns() // 1_000_000  # what is older than a day is awaited no longer
    number = journal.begin(make_begin(id=name, path="/responses", is_reserved=True, started_at_ms=now_ms), request)
    journal.end(number, make_end(answer, request), answer)


def polled(journal: JournalWriter, name: str) -> None:
    usage = {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100}
    answer = json.dumps(
        {"id": "resp_1", "object": "response", "status": "completed", "model": "gpt-4o-mini", "usage": usage}
    ).encode()
    number = journal.begin(make_begin(id=name, method="GET", path="/responses/resp_1"), b"")
    journal.end(number, make_end(answer, b""), answer)


@pytest.mark.parametrize("ledger_dies", [False, True])
def test_work_in_the_background_stays_reserved_until_its_cost_is_seen_and_is_spent_once(
    ledger_: LedgerUnderTest, journal: JournalWriter, tmp_path: Path, ledger_dies: bool
) -> None:
    ledger_.reserve("post", journal.name)
    background(journal, "post")
    for _ in range(2):
        # Comparing the lists, as a recorder does that just started, must not settle it either.
        recorder = make_recorder(tmp_path)
        recorder.step()
        recorder.step()
        assert ledger_.open() == {"post"}
        recorder.close()
    if ledger_dies:
        ledger_.kill()
    recorder = make_recorder(tmp_path)
    for name in ("poll-1", "poll-2"):
        polled(journal, name)
        recorder.step()
    if ledger_dies:
        ledger_.start()
    wait_until(lambda: recorder.step() or not ledger_.open(), "settlement")
    recorder.close()
    assert ledger_.spent() == ANSWER_NANO_USD
    store = SqliteStore(tmp_path / "records.db")
    assert store.settlements(["post"])["post"].nano_usd == ANSWER_NANO_USD
    store.close()


def test_work_in_the_background_stays_reserved_when_its_gateway_is_long_gone(
    ledger_: LedgerUnderTest, journal: JournalWriter, tmp_path: Path
) -> None:
    ledger_.reserve("post", journal.name)
    background(journal, "post")
    journal.close()
    recorder = make_recorder(tmp_path)
    for _ in range(3):
        # Nobody else would settle or release it: its writer is dead, and its record is stored.
        recorder.step()
        recorder._settler.is_behind = True
    assert ledger_.open() == {"post"}
    later = JournalWriter(tmp_path / "journal", "gateway-9")
    polled(later, "poll")
    wait_until(lambda: recorder.step() or not ledger_.open(), "settlement")
    later.close()
    recorder.close()
    assert ledger_.spent() == ANSWER_NANO_USD
