"""A completion put together from one piece or from many: what chat and plain completions have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final, Generic, TypeVar

import msgspec

from proxy.wire.draft import Draft, Output
from proxy.wire.lenient import LenientDecoder
from proxy.wire.openai.elsewhere import read_headers, read_timings
from proxy.wire.openai.error import read_error
from proxy.wire.openai.usage import read_usage
from proxy.wire.transcript import Transcript, note_lost

_ABSENT: Final = (b"", b"null")


class Piece(msgspec.Struct):
    """A completion, or a chunk of one."""

    id: str | None = None
    object: str | None = None
    model: str | None = None
    service_tier: str | None = None
    usage: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()
    timings: msgspec.Raw = msgspec.Raw()
    """llama.cpp."""


P = TypeVar("P", bound=Piece)


class Assembly(ABC, Generic[P]):
    """Collects pieces into a draft."""

    def __init__(self, transcript: Transcript, draft: Draft) -> None:
        self.draft = draft
        self._transcript = transcript
        self._usage = b""
        self._timings = b""

    @abstractmethod
    def take_choices(self, piece: P) -> Output:
        """Add the choices of a piece; return what they held."""

    @abstractmethod
    def finish_reasons(self) -> dict[int, str | None]:
        """Return the finish reason of every choice that began, by index; None: it has not finished."""

    @abstractmethod
    def finish_choices(self) -> None:
        """Fill in what the choices say, when all pieces were added."""

    def finish_usage(self) -> None:
        """Fill in what was consumed, when all pieces were added."""
        read_usage(self._usage, self.draft, self.provider)
        if not self._usage:
            read_timings(self._timings, self.draft)
        if self.draft.usage is None:
            read_headers(self._transcript, self.draft)

    @property
    def provider(self) -> str | None:
        """Provider id of the price table."""
        return self._transcript.provider

    def read_body(self, decoder: LenientDecoder[P]) -> None:
        """Read a response that came in one piece."""
        if self._transcript.response:
            self._take(self._transcript.read_response(decoder, self.draft))
            self._finish()

    def read_stream(self, decoder: LenientDecoder[P], choices: int) -> None:
        """Read a stream of pieces, at whose end there should be that many choices."""
        draft, lost, is_done = self.draft, set[str](), False
        for event in self._transcript.events():
            if event.data[:6] == b"[DONE]":
                is_done = True
            elif event.data:
                piece = decoder.decode(event.data, lost)
                draft.saw_output(event.end_offset, self._take(piece))
                if piece.object == "error" or (event.name == b"error" and draft.error_type is None):
                    read_error(event.data, draft)
        if not self._usage:
            # The last event may be longer than what is kept of an end.
            for member in self._transcript.members_of_tail():
                self.take_extras(msgspec.Raw(member.text if member.key == "usage" else b""), msgspec.Raw())
        note_lost(draft, "event", lost)
        self._finish()
        reasons = self.finish_reasons().values()
        draft.has_ended = is_done or (None not in reasons and len(reasons) >= choices)

    def take_extras(self, usage: msgspec.Raw, error: msgspec.Raw) -> None:
        """Add a usage and an error. The last usage counts: who sends one with every chunk sends running totals."""
        if (raw := bytes(usage)) not in _ABSENT and not (raw == b"{}" and self._usage):
            self._usage = raw
        if (raw := bytes(error)) not in _ABSENT:
            read_error(raw, self.draft)

    def _take(self, piece: P) -> Output:
        draft = self.draft
        draft.response_id = draft.response_id or piece.id
        draft.model = draft.model or piece.model
        draft.service_tier = piece.service_tier or draft.service_tier
        if piece.usage or piece.error:
            self.take_extras(piece.usage, piece.error)
        if piece.timings:
            self._timings = bytes(piece.timings)
        return self.take_choices(piece)

    def _finish(self) -> None:
        self.finish_choices()
        self.draft.finish_reasons = tuple([reason for _, reason in sorted(self.finish_reasons().items())])
        self.draft.attempt("usage", self.finish_usage)
