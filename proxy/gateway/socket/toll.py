"""Where a client's messages wait until they may go: judged one by one, and covered by the ledger where a budget applies.

    asked ─▶ judged ─▶ counted ─▶ covered? ── yes ─▶ goes
                                     └─ no ─▶ the ledger is asked; all that follows waits behind it

The bytes wait as they came and go as they came. What the server says is counted as it passes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from proxy.errors import LedgerUnavailable
from proxy.gateway.refusal import Refusal
from proxy.gateway.socket.meter import Needed, SocketMeter
from proxy.reservations import Answer, Cover, Granted
from proxy.websocket import FrameParser, Message, Opcode

AHEAD: Final = (4096, 1024)
"""Tokens of input and output to have covered beyond what is needed, so that the ledger is asked now and then only."""
FRUGAL: Final = (0, 64)
"""The same where that does not fit any more."""
_ASK_AT: Final = 512
"""Tokens of output left when more are asked for."""
Models: TypeAlias = tuple[tuple[str | None, str | None], ...]
"""Model and service tier of each response so far."""


class Toll:
    """One session of a key with limits."""

    def __init__(
        self,
        parser: FrameParser,
        meter: SocketMeter | None,
        *,
        judge: Callable[[bytes], Refusal | None],
        covers: Callable[[Needed, tuple[int, int]], Cover | None],
        ask: Callable[[Cover, Callable[[Answer | LedgerUnavailable], None]], None],
        refusal_of: Callable[[Answer | LedgerUnavailable], Refusal],
        limit_bytes: int,
    ) -> None:
        self.parser = parser
        self.refusal: Refusal | None = None
        """Why the session must end; None: it may go on."""
        self.on_answer: Callable[[], None] = lambda: None
        """Called when the ledger has answered."""
        self._meter = meter
        self._judge = judge
        self._covers = covers
        self._ask = ask
        self._refusal_of = refusal_of
        self._limit_bytes = limit_bytes
        self._waiting = bytearray()
        self._released = 0
        """Offset of the first byte that waits."""
        self._complete = 0
        """Offset behind the last message that was judged."""
        self._asked: Cover | None = None
        self._asked_turn = self._granted_turn = 0
        self._is_frugal = False
        self._granted: Cover | None = None
        self._unbudgeted: Models | None = None
        """To these no budget applies; the next message may name another."""
        self._covered_output: int | None = None
        """Output tokens covered; None: all that is under way."""

    @property
    def held_bytes(self) -> int:
        """Bytes of messages that wait in memory."""
        return len(self._waiting)

    @property
    def is_waiting(self) -> bool:
        """Say whether the ledger's answer is awaited."""
        return self._asked is not None

    @property
    def is_used_up(self) -> bool:
        """Say whether the server may have said more than is covered."""
        if self._meter is None or self._granted is None:
            return False
        seen = self._meter.needed().output_tokens
        return self._covered_output is not None and seen > self._covered_output

    def take(self, data: bytes) -> list[Message]:
        """Take bytes of the client; return the messages that they complete."""
        self._waiting += data
        messages = self.parser.feed(data)
        for message in messages:
            if self.refusal is None and message.opcode in (Opcode.TEXT, Opcode.BINARY):
                self._take_message(message)
            if message.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CLOSE):
                self._complete = message.end_offset
        if self.parser.is_between_messages and messages:
            self._complete = messages[-1].end_offset
        if self.parser.problem is not None and self.refusal is None:
            self.refusal = Refusal("bad_request", 400, f"these frames cannot be read: {self.parser.problem}")
        if len(self._waiting) > self._limit_bytes and self.refusal is None:
            self.refusal = Refusal("too_large", 413, f"the message is larger than {self._limit_bytes} bytes")
        return messages

    def _take_message(self, message: Message) -> None:
        if not message.is_whole:
            self.refusal = Refusal("too_large", 413, f"the message is larger than {self._limit_bytes} bytes")
            return
        self.refusal = self._judge(message.head)
        if self._meter is not None:
            self._meter.asked(message.head, message.size)

    def said(self, message: Message) -> None:
        """Count a message of the server."""
        if self._meter is not None and message.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._meter.said(message.head + message.tail, message.size)

    def release(self) -> bytes:
        """Return the bytes that may go now: those before anything that is not covered."""
        if self.refusal is not None or not self.is_covered():
            return b""
        size = self._complete - self._released
        ready = bytes(self._waiting[:size])
        del self._waiting[:size]
        self._released = self._complete
        return ready

    def is_covered(self) -> bool:
        """Say whether all that is known to be needed is covered; ask the ledger if it is not."""
        meter = self._meter
        if meter is None or self.refusal is not None:
            return self.refusal is None
        needed = meter.needed()
        if self._asked is None and (not self._is_within(needed) or self._is_near(needed)):
            self._ask_for(needed, AHEAD)
        return self._is_within(needed)

    def _is_within(self, needed: Needed) -> bool:
        if needed.models == self._unbudgeted:
            return True
        granted = self._granted
        return granted is not None and (
            needed.known == granted.known
            and set(needed.models) <= set(granted.models)
            and needed.input_tokens <= granted.input_tokens
            and needed.tool_calls <= granted.tool_calls
            and self._output_is_within(needed)
        )

    def _output_is_within(self, needed: Needed) -> bool:
        if self._covered_output is not None:
            return needed.output_tokens <= self._covered_output
        # Held to the end of what was under way then: what began since is not in it.
        return needed.turn == self._granted_turn

    def _is_near(self, needed: Needed) -> bool:
        return self._covered_output is not None and needed.output_tokens + _ASK_AT > self._covered_output

    def _ask_for(self, needed: Needed, ahead: tuple[int, int]) -> None:
        cover = self._covers(needed, ahead)
        if cover is None:
            self._unbudgeted = needed.models
            return
        self._is_frugal = ahead == FRUGAL
        self._asked = cover
        self._asked_turn = needed.turn
        self._ask(cover, self._answered)

    def _answered(self, answer: Answer | LedgerUnavailable) -> None:
        asked, self._asked = self._asked, None
        if isinstance(answer, Granted):
            self._granted, self._covered_output, self._granted_turn = asked, answer.output_tokens, self._asked_turn
        elif not self._is_frugal and self._meter is not None:
            self._ask_for(self._meter.needed(), FRUGAL)
            return
        else:
            self.refusal = self._refusal_of(answer)
        self.on_answer()
