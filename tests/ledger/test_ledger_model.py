"""Any order of requests, settlements, crashes and clock changes, against a model in plain arithmetic."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from proxy.ledger.demand import LEAST_REQUESTS
from proxy.ledger.leases import SHARE
from proxy.ledger.ledger import Ledger
from proxy.reservations import (
    BudgetLine,
    Draw,
    Drawn,
    Extend,
    Granted,
    Lease,
    Leased,
    Refused,
    Release,
    Return,
    Settle,
)
from tests.ledger.scenes import DAY_MS, INPUT, NOON_MS, OUTPUT, Hands, ask, price_book, request

ROLLING_MS = 3_600_000
BUCKET_MS = ROLLING_MS // 60
FIRST_SLICE = 1024
NEAR = 16
AccountKey = tuple[str, str, int]


@dataclass
class ModelAccount:
    """What the ledger should know of one window."""

    limit: int = 0
    granted: int = 0
    reserved: int = 0
    overrun: int = 0
    spendings: list[tuple[int, int]] = field(default_factory=list)
    """When it leaves a rolling window (else never) and how much."""

    @property
    def spent(self) -> int:
        return sum(amount for _, amount in self.spendings)

    def set_limit(self, limit: int) -> None:
        if limit != self.limit:
            self.limit = limit
            self.granted = max(limit, self.spent + self.reserved - self.overrun)

    def forget(self, now_ms: int) -> None:
        left = [(leaves, amount) for leaves, amount in self.spendings if leaves > now_ms]
        if sum(amount for _, amount in left) != self.spent:
            self.spendings = left
            self.tighten()
            self.overrun = max(0, min(self.overrun, self.spent + self.reserved - self.limit))

    def tighten(self) -> None:
        """What was committed when the limit was lowered counts only as long as it is."""
        self.granted = max(self.limit, min(self.granted, self.spent + self.reserved - self.overrun))


@dataclass
class ModelReservation:
    amount: int
    input_tokens: int
    covered: int | None
    limit: int
    accounts: list[tuple[AccountKey, int]]
    """Account, and when what is spent leaves it."""


@dataclass
class ModelLease:
    keys: list[AccountKey]
    held: int
    drawn: int = 0
    spent: int = 0


FOREVER = 2**62


class LedgerAgainstModel(RuleBasedStateMachine):
    """Budgets: `total` and `daily` (hard, per scope), `hour` (rolling), `watch` (soft)."""

    standing = Bundle("standing")
    lent = Bundle("lent")

    def __init__(self) -> None:
        super().__init__()
        memory = Path("/dev/shm")  # noqa: S108 - thousands of commits: only their content matters here, not the disk
        self.directory = Path(tempfile.mkdtemp(prefix="ledger-model-", dir=memory if memory.is_dir() else None))
        self.generation = 0
        self.path.parent.mkdir()
        self.hands = Hands()
        self.ledger = Ledger(self.path, price_book(), self.hands.clock())
        self.accounts: dict[AccountKey, ModelAccount] = {}
        self.reservations: dict[str, ModelReservation] = {}
        self.leases: dict[str, ModelLease] = {}
        self.count = 0
        self.ever_above_reserved = False
        self.count_lent = 0
        self.limits = {"total": 0, "daily": 0, "hour": 0, "watch": 0}

    @property
    def path(self) -> Path:
        return self.directory / str(self.generation) / "ledger.db"

    @initialize(limit=st.integers(0, 60_000_000) | st.integers(10_000_000, 20_000_000))
    def choose_limits(self, limit: int) -> None:
        self.limits = {"total": 4 * limit, "daily": 2 * limit, "hour": limit, "watch": 1}

    def line(self, budget: str, scope: str) -> BudgetLine:
        limit, now = self.limits[budget], self.hands.wall_ms
        if budget == "daily":
            start = now - now % DAY_MS
            return BudgetLine(budget, scope, limit, True, start, start + DAY_MS)
        return BudgetLine(budget, scope, limit, budget != "watch", 0, None, ROLLING_MS if budget == "hour" else None)

    def account(self, line: BudgetLine) -> tuple[AccountKey, ModelAccount]:
        newest = max(
            (key[2] for key in self.accounts if key[:2] == (line.budget, line.scope)), default=line.window_start_ms
        )
        key = (line.budget, line.scope, max(newest, line.window_start_ms))
        account = self.accounts.setdefault(key, ModelAccount(line.limit_nano_usd, line.limit_nano_usd))
        account.set_limit(line.limit_nano_usd)
        if line.rolling_ms is not None:
            account.forget(self.hands.wall_ms)
        return key, account

    def fits(self, keys: list[AccountKey], amount: int) -> bool:
        return amount == 0 or all(
            self.accounts[key].spent + self.accounts[key].reserved + amount <= self.accounts[key].limit
            for key in keys
            if key[0] != "watch"
        )

    def leaves(self, key: AccountKey) -> int:
        """Return when what is reserved now leaves a rolling window: never before what was spent already."""
        now = (self.hands.wall_ms // BUCKET_MS + 1) * BUCKET_MS + ROLLING_MS
        newest = max((leaves for leaves, amount in self.accounts[key].spendings if amount), default=0)
        return max(now, min(newest, now + ROLLING_MS))

    def is_near(self, keys: list[AccountKey], whole: int) -> bool:
        """Say whether the whole fits and not many more would: then it is held at once."""
        rooms = [
            self.accounts[key].limit - self.accounts[key].spent - self.accounts[key].reserved
            for key in keys
            if key[0] != "watch"
        ]
        return bool(rooms) and whole <= min(rooms) < NEAR * whole

    @rule(
        target=standing,
        budgets=st.lists(
            st.tuples(st.sampled_from(["total", "daily", "hour", "watch"]), st.sampled_from(["", "ann"])),
            min_size=1,
            max_size=4,
            unique=True,
        ),
        input_bytes=st.integers(0, 2_000),
        output=st.integers(1, 3_000),
        is_sliced=st.booleans(),
    )
    def reserve(self, budgets: list[tuple[str, str]], input_bytes: int, output: int, is_sliced: bool) -> object:
        self.count += 1
        exchange = f"x{self.count}"
        lines = [self.line(*budget) for budget in budgets]
        keys = [self.account(line)[0] for line in lines]
        whole = input_bytes * INPUT + output * OUTPUT
        covered = FIRST_SLICE if is_sliced and output > FIRST_SLICE and not self.is_near(keys, whole) else None
        amount = input_bytes * INPUT + (covered or output) * OUTPUT
        message = request(exchange, *lines, input_bytes=input_bytes, max_output_tokens=output, is_sliced=is_sliced)
        answer = ask(self.ledger, message)
        if not self.fits(keys, amount):
            assert isinstance(answer, Refused)
            assert (answer.reason, answer.needed) == ("budget", amount)
            return multiple()
        assert isinstance(answer, Granted)
        assert (answer.reserved_nano_usd, answer.output_tokens) == (amount, covered)
        places = [(key, self.leaves(key) if key[0] == "hour" else FOREVER) for key in keys]
        self.reservations[exchange] = ModelReservation(amount, input_bytes, covered, output, places)
        for key in keys:
            self.accounts[key].reserved += amount
        assert ask(self.ledger, message) == answer
        return exchange

    @rule(exchange=standing, tokens=st.integers(0, 4_000))
    def extend(self, exchange: str, tokens: int) -> None:
        standing = self.reservations[exchange]
        (answer,) = self.ledger.handle([Extend(1, exchange, tokens)])
        if standing.covered is None or tokens <= standing.covered:
            assert isinstance(answer, Granted)
            assert answer.output_tokens == standing.covered
            return
        keys = [key for key, _ in standing.accounts]
        for key in keys:
            if key[0] == "hour":
                self.accounts[key].forget(self.hands.wall_ms)
        tokens = min(tokens, standing.limit)
        rest = self.price(standing, standing.limit) - standing.amount
        is_whole = self.is_near(keys, rest)
        aim = standing.limit if is_whole else max(tokens, min(standing.limit, 2 * standing.covered))
        fitting = [
            more for more in range(tokens, aim + 1) if self.fits(keys, self.price(standing, more) - standing.amount)
        ]
        if not fitting:
            assert isinstance(answer, Refused)
            return
        assert isinstance(answer, Granted)
        standing.covered = fitting[-1] if fitting[-1] < standing.limit else None
        amount = self.price(standing, fitting[-1])
        for key in keys:
            self.accounts[key].reserved += amount - standing.amount
        standing.amount = amount
        assert (answer.output_tokens, answer.reserved_nano_usd) == (standing.covered, amount)

    @staticmethod
    def price(standing: ModelReservation, tokens: int) -> int:
        return standing.input_tokens * INPUT + tokens * OUTPUT

    @rule(exchange=consumes(standing), share=st.none() | st.sampled_from([0, 33, 100, 150, 1000]))
    def settle(self, exchange: str, share: int | None) -> None:
        standing = self.reservations.pop(exchange)
        actual = standing.amount if share is None else standing.amount * share // 100
        self.ever_above_reserved |= actual > standing.amount
        self.ledger.handle([Settle(1, exchange, None if share is None else actual)])
        self.ledger.handle([Settle(2, exchange, 10**9), Release(exchange)])
        for key, leaves in standing.accounts:
            self.spend(key, leaves, standing.amount, actual)

    def spend(self, key: AccountKey, leaves: int, held: int, actual: int) -> None:
        account = self.accounts[key]
        account.reserved -= held
        account.spendings.append((leaves, actual))
        if key[0] != "watch":
            account.overrun += max(0, account.spent + account.reserved - account.granted - account.overrun)
            account.tighten()

    @rule(
        target=lent,
        budgets=st.lists(
            st.tuples(st.sampled_from(["total", "daily", "hour", "watch"]), st.sampled_from(["", "ann"])),
            min_size=1,
            max_size=3,
            unique=True,
        ),
        count=st.integers(1, 40),
    )
    def lend(self, budgets: list[tuple[str, str]], count: int) -> object:
        self.count += 1
        lease = f"g/{self.count}"
        lines = [self.line(*budget) for budget in budgets]
        return lease if self.grow(lease, [self.account(line)[0] for line in lines], lines, count) else multiple()

    def grow(self, lease: str, keys: list[AccountKey], lines: list[BudgetLine], count: int) -> bool:
        each = 10 * INPUT + OUTPUT
        like = request("like", *lines, input_bytes=10, max_output_tokens=1)
        (answer,) = self.ledger.handle([Lease(1, lease, like, count)])
        rooms = [
            self.accounts[key].limit - self.accounts[key].spent - self.accounts[key].reserved
            for key in keys
            if key[0] != "watch"
        ]
        amount = min([each * count, *(room // SHARE for room in rooms)])
        assert isinstance(answer, Leased)
        if amount < LEAST_REQUESTS * each:
            assert answer.nano_usd == 0
            return False
        assert answer.nano_usd == amount
        self.count_lent += 1
        self.leases.setdefault(lease, ModelLease(keys, 0)).held += amount
        for key in keys:
            self.accounts[key].reserved += amount
        return True

    @rule(lease=lent, taken=st.integers(0, 100), share=st.sampled_from([0, 33, 100, 150]))
    def draw(self, lease: str, taken: int, share: int) -> None:
        lent = self.leases[lease]
        part = lent.held * taken // 100
        actual = part * share // 100
        self.ever_above_reserved |= actual > part
        for key in lent.keys:
            self.spend(key, self.leaves(key) if key[0] == "hour" else FOREVER, part, actual)
        lent.held, lent.drawn, lent.spent = lent.held - part, lent.drawn + part, lent.spent + actual
        for _ in range(2):
            self.ledger.handle([Draw(1, lease, lent.drawn, lent.spent)])

    @rule(lease=consumes(lent), kept=st.integers(0, 100))
    def take_back(self, lease: str, kept: int) -> None:
        """A gateway returns a lease of which a part is under way; that part turns out to have cost nothing."""
        lent = self.leases.pop(lease)
        part = lent.held * kept // 100
        self.ledger.handle([Return(lease, lent.drawn + part), Return(lease, lent.drawn + part)])
        for key in lent.keys:
            self.accounts[key].reserved -= lent.held - part
            self.accounts[key].tighten()
        self.ledger.handle([Draw(1, lease, lent.drawn + part, lent.spent)])
        for key in lent.keys:
            self.spend(key, FOREVER, part, 0)
        assert self.ledger.handle([Draw(1, lease, 10**9, 10**9)]) == [Drawn(1, is_open=False)]

    @rule(exchange=consumes(standing))
    def release(self, exchange: str) -> None:
        standing = self.reservations.pop(exchange)
        self.ledger.handle([Release(exchange)])
        for key, _ in standing.accounts:
            self.accounts[key].reserved -= standing.amount
            self.accounts[key].tighten()

    @rule()
    def crash(self) -> None:
        """Open what the disk holds, as if the process had been killed."""
        before = self.path.parent
        self.generation += 1
        shutil.copytree(before, self.path.parent)
        self.ledger.close()
        self.ledger = Ledger(self.path, price_book(), self.hands.clock())

    @rule(exchange=standing, step=st.integers(0, 40), ends=st.booleans())
    def crash_between_two_statements(self, exchange: str, step: int, ends: bool) -> None:
        """Kill the ledger somewhere within a batch that extends, settles, releases and reserves: nothing of it stays."""
        snapshots: list[Path] = []

        def about_to_run(*_: object) -> bool:
            if len(snapshots) <= step:
                snapshots.append(self.directory / f"{self.generation}-{len(snapshots)}")
                shutil.copytree(self.path.parent, snapshots[-1])
            return True

        connection = self.ledger._connection
        connection.exec_trace = about_to_run
        try:
            last = Settle(1, exchange, 12_345) if ends else Release(exchange)
            new = request("new", self.line("total", ""), self.line("daily", "ann"), self.line("hour", ""))
            self.ledger.handle([Extend(2, exchange, 2_000), last, new])
        finally:
            connection.exec_trace = None
        self.ledger.close()
        self.generation += 1
        shutil.rmtree(self.path.parent, ignore_errors=True)
        shutil.move(snapshots[-1], self.path.parent)
        self.ledger = Ledger(self.path, price_book(), self.hands.clock())

    @rule(minutes=st.one_of(st.integers(0, 90), st.integers(-90, 60 * 30)))
    def turn_the_clock(self, minutes: int) -> None:
        self.hands.wall_ms = max(NOON_MS, self.hands.wall_ms + minutes * 60_000 + 7)

    @rule(budget=st.sampled_from(["total", "daily", "hour"]), percent=st.integers(0, 200))
    def change_a_limit(self, budget: str, percent: int) -> None:
        self.limits[budget] = self.limits[budget] * percent // 100

    @invariant()
    def the_ledger_agrees_with_the_model(self) -> None:
        connection = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READONLY)
        rows: list[Any] = connection.execute(
            "SELECT budget, scope, window_start_ms, spent_nano_usd, reserved_nano_usd, overrun_nano_usd, limit_nano_usd,"
            " granted_nano_usd FROM accounts"
        ).fetchall()
        buckets: list[Any] = connection.execute(
            "SELECT budget, scope, window_start_ms, end_ms + rolling_ms, b.spent_nano_usd"
            " FROM buckets b JOIN accounts a ON a.id = b.account"
        ).fetchall()
        connection.close()
        assert {tuple(row[:3]): tuple(row[3:]) for row in rows} == {
            key: (
                account.spent,
                account.reserved,
                account.overrun,
                account.limit,
                None if key[0] == "watch" else account.granted,
            )
            for key, account in self.accounts.items()
        }
        assert {tuple(row[:4]): row[4] for row in buckets} == self.expected_buckets()
        for row in rows:
            assert row[7] is None or row[3] + row[4] <= row[7] + row[5]
        if not self.ever_above_reserved:
            assert all(row[5] == 0 for row in rows)

    def expected_buckets(self) -> dict[tuple[str, str, int, int], int]:
        found: dict[tuple[str, str, int, int], int] = {}
        for key, account in self.accounts.items():
            for leaves, amount in account.spendings:
                if leaves != FOREVER and amount:
                    found[*key, leaves] = found.get((*key, leaves), 0) + amount
        return found

    def teardown(self) -> None:
        try:
            for exchange in list(self.reservations):
                self.settle(exchange, 100)
            for lease in list(self.leases):
                self.take_back(lease, 50)
            self.the_ledger_agrees_with_the_model()
            assert all(account.reserved == 0 for account in self.accounts.values())
        finally:
            self.ledger.close()
            shutil.rmtree(self.directory)


KINDS = ("reserve", "extend", "settle", "release", "lend", "draw", "take back", "clock", "limit")
SHARES = (40, 20, 30, 8, 5, 8, 4, 1, 1)
OPERATIONS = 1_000_000 if os.environ.get("GLASSLINE_LONG") else 20_000


@pytest.mark.timeout(3600 if os.environ.get("GLASSLINE_LONG") else 120)
def test_twenty_thousand_operations_leave_every_account_exact_to_the_nano_dollar() -> None:
    """One ledger, one seed, the same model: what adds up over a long life, which short schedules cannot show."""
    rng, machine, standing, lent = random.Random(20_000), LedgerAgainstModel(), list[str](), list[str]()
    budgets = [(name, scope) for name in ("total", "daily", "hour", "watch") for scope in ("", "ann")]
    try:
        machine.choose_limits(limit=15_000_000)
        for number in range(OPERATIONS):
            match rng.choices(KINDS, SHARES)[0]:
                case "reserve":
                    chosen = rng.sample(budgets, rng.randint(1, 4))
                    made = machine.reserve(chosen, rng.randrange(2000), rng.randint(1, 3000), rng.random() < 0.5)
                    standing += [made] if isinstance(made, str) else []
                case "extend" if standing:
                    machine.extend(rng.choice(standing), rng.randrange(4000))
                case "settle" if standing:
                    machine.settle(standing.pop(rng.randrange(len(standing))), rng.choice((None, 0, 33, 100, 150)))
                case "release" if standing:
                    machine.release(standing.pop(rng.randrange(len(standing))))
                case "lend":
                    made = machine.lend(rng.sample(budgets, rng.randint(1, 3)), rng.randint(1, 40))
                    lent += [made] if isinstance(made, str) else []
                case "draw" if lent:
                    machine.draw(rng.choice(lent), rng.randint(0, 100), rng.choice((0, 33, 100, 150)))
                case "take back" if lent:
                    machine.take_back(lent.pop(rng.randrange(len(lent))), rng.randint(0, 100))
                case "clock":
                    machine.turn_the_clock(rng.randint(-90, 180))
                case "limit":
                    machine.limits["hour"] = rng.randrange(20_000_000)
            if number % 500 == 0:
                machine.the_ledger_agrees_with_the_model()
        assert machine.count_lent > OPERATIONS // 200
    finally:
        machine.teardown()


TestLedgerAgainstModel = LedgerAgainstModel.TestCase
TestLedgerAgainstModel.settings = settings(
    max_examples=150 if os.environ.get("GLASSLINE_LONG") else 40,
    stateful_step_count=40,
    suppress_health_check=[HealthCheck.too_slow],
)
