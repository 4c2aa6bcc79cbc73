"""Advice: what an error means and what to do about it, for people who were just called because of it.

Codes of our own are explained in docs/errors.md as well; those of providers are from their documentation, seen 2026-11.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from proxy.store.query import RequestRow

Retry = Literal["yes", "no", "later"]


class Advice(msgspec.Struct, frozen=True):
    """What an error means."""

    title: str
    what_to_do: str
    retry: Retry
    """Whether the same request may succeed: at once, never, or after a while."""
    by: Literal["client", "provider", "glassline", "network"]
    """Whose doing it is."""
    code: str | None
    message: str | None
    """In the words of whoever complained."""
    filter: str
    """Finds all requests that failed in the same way."""


_Row = tuple[str, str, Retry]
_OURS: Final[dict[str, _Row]] = {
    "invalid_key": ("The key is unknown or revoked", "Send a key of `glassline keys create` or of `keys:` the way the SDK sends its API key.", "no"),
    "too_many_failures": ("Too many wrong keys came from this address", "Send a right key: it passes at once.", "later"),
    "model_not_allowed": ("The key may not use this model", "Ask for a model that the key allows, extend `keys[].models` or `keys[].upstreams`, or give the model a price in `pricing.overrides`.", "no"),
    "budget_exceeded": ("A hard budget has no room for this request", "`glassline budgets explain KEY` says which budget, which window and when it resets. A smaller `max_tokens` reserves less.", "later"),
    "rate_limited": ("A rate limit of the key is reached", "Wait for `retry-after`; SDKs do it by themselves. The limits are `keys[].rate_limits`.", "later"),
    "bad_request": ("The request cannot be read without doubt", "Mend the client: nothing was forwarded. The message says what two servers could read differently.", "no"),
    "too_large": ("The request is larger than `limits` permits", "Send less, or raise the limit that the message names.", "no"),
    "not_found": ("The path names no upstream", "Use `/v1/…`, or `/<upstream>/…` with a name from `upstreams:`.", "no"),
    "upstream_unreachable": ("The provider could not be reached", "The message says whether DNS, the connection or TLS failed. An upstream on a private address needs `allow_private: true`.", "yes"),
    "upstream_timeout": ("The provider did not answer in time", "Try again. For slow models raise `timeouts.first_byte`.", "yes"),
    "recorder_unavailable": ("The request could not be recorded, so it was not forwarded", "Run `glassline doctor`; most often the disk is full.", "later"),
    "draining": ("Glassline was being stopped", "Try again: another process takes over within a second.", "yes"),
    "overloaded": ("Too many connections or bodies at once", "Try again after a second. Raise `limits.connections` or `limits.memory_mb`, or add workers.", "yes"),
}  # fmt: skip
_THEIRS: Final[dict[str, _Row]] = {
    # By code or type of the provider's error, in lower case.
    "insufficient_quota": ("The provider's account has no credit left", "Add credit or raise the limit in the provider's console; trying again does not help.", "no"),
    "billing_hard_limit_reached": ("The provider's account reached its spending limit", "Raise the limit in the provider's console.", "no"),
    "billing_error": ("The provider's account has a billing problem", "Look at billing in the provider's console.", "no"),
    "rate_limit_exceeded": ("The provider's rate limit is reached", "Wait as `retry-after` says, spread the load, or ask the provider for more.", "later"),
    "rate_limit_error": ("The provider's rate limit is reached", "Wait as `retry-after` says, spread the load, or ask the provider for more.", "later"),
    "resource_exhausted": ("The provider's quota is used up", "Wait as the message says, or raise the quota in the provider's console.", "later"),
    "throttlingexception": ("The provider is throttling", "Wait and try again; raise the quota in the provider's console.", "later"),
    "overloaded_error": ("The provider is overloaded", "Try again in a moment; a second upstream would take over.", "later"),
    "unavailable": ("The provider is overloaded or down", "Try again in a moment.", "later"),
    "context_length_exceeded": ("The prompt is longer than the model's context", "Shorten the conversation, or use a model with a longer context.", "no"),
    "string_above_max_length": ("A text is longer than the provider permits", "Shorten it.", "no"),
    "model_not_found": ("The provider does not know this model, or the account may not use it", "Check the spelling of `model`, and the account's access.", "no"),
    "not_found_error": ("The provider does not know what was asked for", "Check `model` and the path.", "no"),
    "invalid_api_key": ("The provider refused the API key", "Check the key that the application sends, or `upstreams.<name>.api_key`.", "no"),
    "authentication_error": ("The provider refused the API key", "Check the key that the application sends, or `upstreams.<name>.api_key`.", "no"),
    "unauthenticated": ("The provider refused the API key", "Check the key that the application sends, or `upstreams.<name>.api_key`.", "no"),
    "permission_error": ("The account may not do this", "Check the account's permissions in the provider's console.", "no"),
    "permission_denied": ("The account may not do this", "Check the account's permissions in the provider's console.", "no"),
    "content_filter": ("The provider's filter stopped the prompt", "Change the prompt, or the filter in the provider's console.", "no"),
    "content_policy_violation": ("The provider's filter stopped the prompt", "Change the prompt.", "no"),
    "invalid_request_error": ("The provider cannot use the request", "The message says which field is wrong; the Request tab shows what was sent.", "no"),
    "invalid_argument": ("The provider cannot use the request", "The message says which field is wrong; the Request tab shows what was sent.", "no"),
    "validationexception": ("The provider cannot use the request", "The message says which field is wrong; the Request tab shows what was sent.", "no"),
    "unsupported_parameter": ("The model does not take one of the parameters", "Leave it out; the message names it.", "no"),
    "request_too_large": ("The request is larger than the provider permits", "Send less.", "no"),
    "server_error": ("The provider failed", "Try again; if it goes on, look at the provider's status page.", "yes"),
    "api_error": ("The provider failed", "Try again; if it goes on, look at the provider's status page.", "yes"),
    "internal": ("The provider failed", "Try again; if it goes on, look at the provider's status page.", "yes"),
    "timeout_error": ("The provider took too long", "Try again; stream long answers.", "yes"),
    "deadline_exceeded": ("The provider took too long", "Try again with a shorter prompt, or stream the answer.", "yes"),
}  # fmt: skip
_STATUSES: Final[dict[int, _Row]] = {
    400: ("The provider cannot use the request", "The message says what is wrong; the Request tab shows what was sent.", "no"),
    401: ("The provider refused the API key", "Check the key that the application sends, or `upstreams.<name>.api_key`.", "no"),
    402: ("The provider wants to be paid", "Add credit in the provider's console.", "no"),
    403: ("The account may not do this", "Check the account's permissions, region and model access in the provider's console.", "no"),
    404: ("The provider does not know the path or the model", "Check `model` and the base URL of the upstream.", "no"),
    408: ("The provider gave up waiting for the request", "Try again.", "yes"),
    409: ("It is in the way of something else", "Try again in a moment.", "later"),
    413: ("The request is larger than the provider permits", "Send less.", "no"),
    422: ("The provider cannot use the request", "The message says which field is wrong.", "no"),
    424: ("Something that the provider depends on failed", "Try again in a moment.", "later"),
    429: ("The provider's rate limit or quota is reached", "Wait as `retry-after` says, spread the load, or ask the provider for more.", "later"),
    500: ("The provider failed", "Try again; if it goes on, look at the provider's status page.", "yes"),
    502: ("Something between here and the provider failed", "Try again; if it goes on, look at the provider's status page.", "yes"),
    503: ("The provider is overloaded or down", "Try again in a moment; if it goes on, look at the provider's status page.", "later"),
    504: ("The provider took too long", "Try again; stream long answers.", "yes"),
    529: ("The provider is overloaded", "Try again in a moment.", "later"),
}  # fmt: skip
_OUTCOMES: Final[dict[str, _Row]] = {
    "client_closed": ("The client left before the answer was complete", "Nothing failed here. If nobody meant to leave, look at the client's own timeout.", "yes"),
    "upstream_error": ("The provider gave no answer", "Try again; the message says what failed on the way.", "yes"),
    "upstream_reset": ("The provider's connection broke in the middle", "Try again. What came until then was passed on and may be billed.", "yes"),
    "truncated": ("The provider ended the answer early", "Try again. What came until then was passed on and may be billed.", "yes"),
    "timeout": ("A deadline passed", "Try again, or raise the deadline in `timeouts`.", "yes"),
    "refused": ("Glassline did not forward it", "The message says why.", "no"),
    "interrupted": ("Glassline's process died while the request ran", "The log of that time says why. What was journalled until then is all there is.", "yes"),
}  # fmt: skip
OUR_CODES: Final = frozenset(_OURS)


def read_advice(row: RequestRow) -> Advice | None:
    """Return what an error means; None: the request did not fail."""
    if row.outcome == "completed" and (row.status or 0) < 400 and row.error_code is None:
        return None
    code = row.error_code or None
    is_ours = code in _OURS and row.outcome != "completed"
    told = (_OURS if is_ours else _THEIRS).get((code or "").lower())
    if told is None and row.outcome == "completed":
        told = _STATUSES.get(row.status or 0)
    title, what_to_do, retry = told or _OUTCOMES.get(row.outcome) or _unknown(row)
    return Advice(title, what_to_do, retry, _by(row, is_ours=is_ours), code, row.error_message, _same(row))


def _unknown(row: RequestRow) -> _Row:
    status = row.status or 0
    if status >= 500:
        return _STATUSES[500]
    return (
        "The provider answered with an error",
        "The message says what is wrong; the Response tab shows all of it.",
        "no",
    )


def _by(row: RequestRow, *, is_ours: bool) -> Literal["client", "provider", "glassline", "network"]:
    if row.outcome == "client_closed":
        return "client"
    if row.outcome in ("refused", "interrupted"):
        return "glassline"
    if row.outcome in ("upstream_error", "timeout") or is_ours:
        return "network"
    return (
        "client" if row.status is not None and 400 <= row.status < 500 and row.status not in (408, 429) else "provider"
    )


def _same(row: RequestRow) -> str:
    """Return the filter that finds what failed in the same way."""
    terms = [("upstream", row.upstream), ("outcome", row.outcome if row.outcome != "completed" else None)]
    terms.append(("error", row.error_code))
    found = [f"{name}:{_value(value)}" for name, value in terms if value]
    if row.status is not None and row.status >= 400:
        found.append(f"status:{row.status}")
    return " ".join(found)


def _value(text: str) -> str:
    """Write a value so that the filter takes it as it is; what it cannot say is left to a glob."""
    if text and all(c.isalnum() or c in "_-./" for c in text):
        return text
    return '"' + text.replace('"', "*") + '"'
