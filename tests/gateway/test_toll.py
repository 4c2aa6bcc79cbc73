"""What waits for a limit goes on as it came: every byte, in order, and nothing before it is covered."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import LedgerUnavailable
from proxy.gateway.refusal import Refusal
from proxy.gateway.socket.meter import Needed
from proxy.gateway.socket.toll import AHEAD, FRUGAL, Toll
from proxy.reservations import Answer, BudgetLine, Cover, Granted, Refused
from proxy.websocket import FrameParser, Opcode, encode_frame

MASK = b"\x01\x02\x03\x04"
LINE = BudgetLine("b", "", 1, True, 0, None)
NO = Refusal("budget_exceeded", 429, "no")
REFUSED = Refused(0, "budget", "b")
Callback = Callable[[Answer | LedgerUnavailable], None]


class Counted:
    """A meter that needs a token for each byte that the client said."""

    def __init__(self) -> None:
        self.models: tuple[tuple[str | None, str | None], ...] = (("m", None),)
        self.asked_bytes = 0
        self.said_bytes = 0

    def asked(self, text: bytes, size: int) -> None:
        assert len(text) == size
        self.asked_bytes += size

    def said(self, text: bytes, size: int) -> None:
        del text
        self.said_bytes += size

    def needed(self) -> Needed:
        return Needed(self.models, self.asked_bytes, self.said_bytes, 0, 0)


class Desk:
    """A ledger that answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[Cover, Callback]] = []

    def ask(self, cover: Cover, callback: Callback) -> None:
        self.asked.append((cover, callback))

    def answer(self, answer: Answer | LedgerUnavailable | None = None) -> Cover:
        """Answer the oldest question; None: yes."""
        cover, callback = self.asked.pop(0)
        callback(Granted(0, 0, cover.output_tokens, None) if answer is None else answer)
        return cover


def make_toll(
    desk: Desk,
    meter: Counted | None,
    *,
    judge: Callable[[bytes], Refusal | None] = lambda _: None,
    budgeted: str | None = None,
) -> Toll:
    """Return a toll; `budgeted`: the only model that a budget applies to, None: one applies to all."""

    def covers(needed: Needed, ahead: tuple[int, int]) -> Cover | None:
        if budgeted is not None and budgeted not in dict(needed.models):
            return None
        return Cover(
            0, "s", "o", None, False, needed.models, needed.input_tokens + ahead[0], needed.output_tokens + ahead[1],
            0, 0, 0, (LINE,),
        )  # fmt: skip

    return Toll(
        FrameParser(keep_head=10_000),
        meter,
        judge=judge,
        covers=covers,
        ask=desk.ask,
        refusal_of=lambda _: NO,
        limit_bytes=10_000,
    )


frames = st.lists(
    st.tuples(st.sampled_from([Opcode.TEXT, Opcode.BINARY, Opcode.PING]), st.binary(max_size=100), st.booleans()),
    max_size=8,
)


@given(frames, st.lists(st.integers(0, 10**6), max_size=12), st.integers(0, 3))
def test_all_bytes_go_in_order_once_they_are_covered(
    sent: list[tuple[Opcode, bytes, bool]], cuts: list[int], patience: int
) -> None:
    wire = b""
    for opcode, payload, is_split in sent:
        if is_split and opcode is not Opcode.PING:
            wire += encode_frame(opcode, payload, mask=MASK, is_final=False) + encode_frame(
                Opcode.PING, b"x", mask=MASK
            )
            wire += encode_frame(Opcode.CONTINUATION, payload, mask=MASK)
        else:
            wire += encode_frame(opcode, payload, mask=MASK)
    desk, meter, gone = Desk(), Counted(), b""
    toll = make_toll(desk, meter)
    places = sorted({cut % (len(wire) + 1) for cut in cuts} | {0, len(wire)})
    for number, (start, end) in enumerate(itertools.pairwise(places)):
        toll.take(wire[start:end])
        gone += toll.release()
        assert wire.startswith(gone)
        if desk.asked and number >= patience:
            desk.answer()
            gone += toll.release()
    while desk.asked:
        desk.answer()
        gone += toll.release()
    assert gone == wire
    assert toll.refusal is None


def test_nothing_goes_before_the_ledger_has_said_yes() -> None:
    desk = Desk()
    toll = make_toll(desk, Counted())
    frame = encode_frame(Opcode.TEXT, b"ask", mask=MASK)
    toll.take(frame)
    assert (toll.release(), toll.is_waiting) == (b"", True)
    assert desk.answer().input_tokens == 3 + AHEAD[0]
    assert toll.release() == frame
    toll.take(frame)
    assert (toll.release(), len(desk.asked)) == (frame, 0), "what was covered ahead needs no question"


@pytest.mark.parametrize("no", [REFUSED, LedgerUnavailable("away")])
def test_what_does_not_fit_with_something_ahead_is_asked_for_again_without_and_then_refused(no: Answer) -> None:
    desk, called = Desk(), []
    toll = make_toll(desk, Counted())
    toll.on_answer = lambda: called.append(toll.refusal)
    toll.take(encode_frame(Opcode.TEXT, b"ask", mask=MASK))
    assert toll.release() == b""
    desk.answer(no)
    assert not called
    assert desk.answer(no).input_tokens == 3 + FRUGAL[0]
    assert called == [NO]
    assert toll.release() == b""


def test_a_session_whose_output_is_used_up_says_so() -> None:
    desk, meter = Desk(), Counted()
    toll = make_toll(desk, meter)
    toll.take(encode_frame(Opcode.TEXT, b"ask", mask=MASK))
    toll.release()
    desk.answer()
    meter.said_bytes = AHEAD[1] - 600
    assert (toll.is_covered(), toll.is_waiting) == (True, False)
    meter.said_bytes = AHEAD[1] - 100
    assert (toll.is_covered(), toll.is_waiting, toll.is_used_up) == (True, True, False), "asked in time"
    meter.said_bytes = AHEAD[1] + 1
    assert (toll.is_covered(), toll.is_used_up) == (False, True)


def test_a_message_that_is_not_allowed_stays_here_with_all_that_follows() -> None:
    toll = make_toll(Desk(), None, judge=lambda text: NO if text == b"bad" else None)
    good, bad = encode_frame(Opcode.TEXT, b"good", mask=MASK), encode_frame(Opcode.TEXT, b"bad", mask=MASK)
    toll.take(good)
    assert toll.release() == good
    toll.take(bad + good)
    assert (toll.release(), toll.refusal) == (b"", NO)


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"\xff" * 14, "bad_request"), (encode_frame(Opcode.TEXT, bytes(10_001), mask=MASK), "too_large")],
    ids=["no frames", "too long"],
)
def test_what_cannot_be_read_does_not_pass_a_limit(data: bytes, code: str) -> None:
    toll = make_toll(Desk(), None)
    toll.take(data)
    assert toll.refusal is not None
    assert (toll.refusal.code, toll.release()) == (code, b"")


def test_a_model_without_a_budget_opens_no_door_for_one_that_has_one() -> None:
    desk, meter = Desk(), Counted()
    toll = make_toll(desk, meter, budgeted="dear")
    frame = encode_frame(Opcode.TEXT, b"ask", mask=MASK)
    toll.take(frame)
    assert (toll.release(), desk.asked) == (frame, [])
    meter.models = (("m", None), ("dear", None))
    toll.take(frame)
    assert (toll.release(), toll.is_waiting) == (b"", True)
    desk.answer()
    assert toll.release() == frame
