"""Error objects in the many shapes that OpenAI-compatible servers give them.

`{"error": {"type", "code", "message"}}` (OpenAI, most), `code` as a number (OpenRouter), `error` as a string (Ollama,
gateways), `{"object": "error", "message"}` (older vLLM), `{"detail": "…"}` or `{"detail": [{"type", "msg"}]}` (FastAPI,
Mistral), and each of these inside a list (Google's compatible endpoint). Seen 2026-11.
"""

from __future__ import annotations

from typing import Final

import msgspec

from proxy.wire.draft import Draft
from proxy.wire.lenient import LenientDecoder, loose_text, members
from proxy.wire.transcript import Transcript

_TEXT_LIMIT: Final = 500
"""Bytes of a plain-text answer that are taken as its message."""


class _Detail(msgspec.Struct):
    type: str | int | None = None
    code: str | int | None = None
    message: str | None = None
    msg: str | None = None


class _Failure(_Detail):
    error: _Detail | str | None = None
    detail: str | list[_Detail] | _Detail | None = None


_FAILURE: Final = LenientDecoder(_Failure)
_DETAIL: Final = LenientDecoder(_Detail)


def read_failure(transcript: Transcript, draft: Draft) -> None:
    """Read the error of a response whose status is not 2xx."""
    text = transcript.response
    if not text:
        return
    if text.lstrip().startswith(b"["):
        text = next((member.text for member in members(text)[0]), b"")
    lost: set[str] = set()
    failure = _FAILURE.decode(text, lost)
    if "json" in lost:
        draft.problems.add("response_json")
        if not text.lstrip().startswith((b"<", b"{")):
            draft.error_message = text[:_TEXT_LIMIT].decode("utf-8", "replace").strip() or None
    detail = failure.detail[0] if isinstance(failure.detail, list) and failure.detail else failure.detail
    for candidate in (failure.error, detail, failure):
        if isinstance(candidate, str):
            draft.error_message = draft.error_message or candidate
        elif isinstance(candidate, _Detail):
            _take(candidate, draft)


def read_error(raw: bytes, draft: Draft) -> None:
    """Read the value of an `error` key inside a successful response; falsy ones mean that there is no error."""
    if raw in (b"", b"null", b"{}", b'""', b"false"):
        return
    if raw[:1] == b"{":
        _take(_DETAIL.decode(raw, set()), draft)
    else:
        draft.error_message = draft.error_message or (loose_text(raw) or raw.decode("utf-8", "replace"))
    draft.error_type = draft.error_type or "error"


def _take(detail: _Detail, draft: Draft) -> None:
    # A code in words says more than the type; `{"type": "error", "code": …}` names the event, not the kind of error.
    is_word = isinstance(detail.code, str) and not detail.code.isdigit()
    kind = detail.code if detail.code and (is_word or detail.type in (None, "error")) else detail.type
    draft.error_type = draft.error_type or (None if kind is None else str(kind))
    draft.error_message = draft.error_message or detail.message or detail.msg
