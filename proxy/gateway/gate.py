"""Who may do what: the decisions of admission, over a configuration that is handed in whole.

Pure apart from one memory: which upstream and model objected to our usage option.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar

from proxy.config import Config
from proxy.errors import BadRequest
from proxy.framing import RequestHead
from proxy.gates.admission import Peek, Unseen, confusing_field, must_be_readable, unseen
from proxy.gates.admission import peek as read_peek
from proxy.gates.admission.form import is_form
from proxy.gates.budgets import Budgets
from proxy.gates.keys import KeyPolicy, KeyRing, errand, is_made_here
from proxy.gates.refusal import explain
from proxy.gates.session import NAMED_IN_MESSAGES, confusing_member, models_named
from proxy.gateway.credentials import credential_line, query_fields
from proxy.gateway.refusal import Refusal
from proxy.gateway.routing import Route, Target
from proxy.gateway.socket.meter import Needed
from proxy.operations import Operation, find_operation
from proxy.reservations import Account, BudgetLine, Cover, Refused, Reserve

_SPENDS_NOTHING: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"DELETE"))
"""Methods that make no provider generate anything; any other may, so any other is judged."""
_OVERRIDES: Final = frozenset((b"x-http-method-override", b"x-http-method", b"x-method-override"))
"""Headers by which some servers take a GET for a POST."""
_OVERRIDES_IN_QUERY: Final = _OVERRIDES | {b"_method", b"$httpmethod", b"$httpheaders", b"$ct", b"$req"}
"""The same as fields of the query; Google's name the method, the headers, the type and the body.

cloud.google.com/apis/docs/system-parameters, seen 2026-11-21.
"""
_MINTS: Final = frozenset({"realtime_secrets", "administration"})
"""What these hand out lets a caller go to the provider without us, so to a limit they are worth its whole budget."""
_ELSEWHERE: Final = _MINTS | {"realtime_calls", "live_sessions"}
"""What these begin goes on over other lines than ours."""
_NEVER_REMEMBERED: Final = 1024
_NOTHING_UNSEEN: Final = Unseen()
_UNREAD: Final = Peek(None, False, None, None, 1, None, None, False, is_bounded=False)
"""What is known of a body that nobody looked at."""
_MOST_ASKED: Final = 1024
"""Heads whose limits are remembered; as many as `proxy.gateway.opening` keeps."""
_Op = TypeVar("_Op", Operation, Operation | None)
TICKET_S: Final = 86400
"""A resumable upload may be finished for a day; Google keeps it for two."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a head decides about its limits; the same head comes again and again."""

    head: RequestHead
    policy: KeyPolicy | None
    needs_body: bool
    overrides_method: bool
    content_type: bytes | None
    """Of a form; empty: it is none. None: several are named."""
    has_models: bool
    """Only some models are allowed."""
    is_billed_now: bool
    """What it costs has a bound, or it costs nothing."""


class Gate:
    """Decides about requests; replaced whole when the configuration changes."""

    def __init__(self, config: Config, keys: KeyRing, budgets: Budgets, *, owner: str) -> None:
        self._keys = keys
        self._budgets = budgets
        self._owner = owner
        self._is_virtual = config.auth == "virtual"
        self._window_bytes = config.limits.admission_window_kb * 1024
        self._body_bytes = int(config.limits.body_mb * 1024 * 1024)
        self._budget_status = config.budget_status
        self._has_shared_budgets = bool(config.budgets)
        self._denies_unpriced = config.pricing.unknown_model == "deny"
        self._rejects_usage: set[tuple[str, str | None]] = set()
        self._asked: dict[int, _Asked] = {}
        """By identity of the head, which it keeps alive."""

    def find_key(self, credentials: Iterable[bytes]) -> tuple[KeyPolicy | None, bytes]:
        """Return the policy of the key among what a request presents, and that key; None: nobody configured one.

        A key that was made here and is no longer in force is returned without a policy. Raises BadRequest for two keys: which of them an upstream would charge is not ours to know.
        """
        presented = tuple(credentials)
        found = [(policy, secret) for secret in presented if (policy := self._keys.find(secret)) is not None]
        if len({policy.name for policy, _ in found}) > 1:
            raise BadRequest("the request presents two different keys")
        return found[0] if found else (None, next(filter(is_made_here, presented), b""))

    def issue_ticket(self, policy: KeyPolicy, upstream: str, target: bytes, now_s: int) -> str:
        """Return what lets the holder of a key go on to `target` of an upstream without showing the key again."""
        return self._keys.ticket(policy.name, upstream.encode() + b" " + target, now_s + TICKET_S)

    def redeem_ticket(self, ticket: str, upstream: str, target: bytes, now_s: int) -> KeyPolicy | None:
        """Return the policy of the key to which `ticket` was given for this target; None: it was given for none."""
        return self._keys.redeem(ticket, upstream.encode() + b" " + target, now_s)

    def redeem_errand(self, ticket: str, upstream: str, now_s: int) -> KeyPolicy | None:
        """Return the policy of the key on whose behalf the admin port sends a request to `upstream`; None: of none."""
        return self._keys.redeem(ticket, errand(upstream), now_s)

    def judge_caller(self, policy: KeyPolicy | None, upstream: str, secret: bytes = b"") -> Refusal | None:
        """Decide from the credential and the upstream alone; `secret`: the key that the caller presents."""
        if policy is None:
            if self._is_virtual or secret:  # one that was revoked is no business of a provider's
                return Refusal("invalid_key", 401, "Incorrect API key provided.")
            return None
        if not policy.allows_upstream(upstream):
            return Refusal("model_not_allowed", 403, f"the key `{policy.name}` may not use the upstream `{upstream}`")
        return None

    def limits(self, policy: KeyPolicy | None) -> bool:
        """Say whether a limit may apply to requests of a caller, so that they must be read before they may go."""
        return self._has_shared_budgets or (policy is not None and policy.is_gated)

    def window_for(self, policy: KeyPolicy | None, route: Route, method: bytes) -> int:
        """Return how many body bytes to collect before forwarding; 0: none, let the body flow."""
        if method in _SPENDS_NOTHING:
            return 0
        if self.limits(policy):
            return self._body_bytes if self._needs_body(policy, route, method) else 0
        return self._window_bytes if _is_generation(route) else 0

    def _needs_body(self, policy: KeyPolicy | None, route: Route, method: bytes) -> bool:
        """Say whether a limit depends on the body. A rate depends on its size alone, which most requests announce."""
        has_more_than_rates = self._has_shared_budgets or (policy is not None and bool(policy.models or policy.budgets))
        return _spends(route, method) and (has_more_than_rates or _is_generation(route))

    def read(self, policy: KeyPolicy | None, route: Route, head: RequestHead, body: bytes) -> Peek | None:
        """Return what must be known of a body: for a limit, or because it may ask for a stream; None: nothing."""
        if not self.limits(policy):
            # The first halves are quicker to rule out, and mostly that is the end of it.
            if _speaks_chat(route) and (
                (b"stream" in body and b'"stream"' in body) or (b"\\" in body and b"\\u" in body)
            ):
                return read_peek(body, route.operation)
            return None
        asked = self._ask(policy, route, head)
        if not asked.needs_body or asked.content_type is None:
            return None
        return read_peek(body, route.operation, asked.content_type)

    def judge_request(
        self, policy: KeyPolicy | None, route: Route, head: RequestHead, body: bytes | None, seen: Peek | None
    ) -> Refusal | None:
        """Decide from the body. Only a key with limits can be refused here; all other bodies pass as they are."""
        if not self.limits(policy):
            return None
        asked = self._ask(policy, route, head)
        if asked.overrides_method:
            return Refusal("bad_request", 400, "a limit of this key needs to know the method: do not override it")
        if not asked.needs_body:
            return None
        if seen is None and must_be_readable(route.operation):
            return Refusal("bad_request", 400, "a limit of this key needs a body that can be read in only one way")
        if body and seen is not None:
            confused = _confused(confusing_field, body, route.operation)
            if confused is not None:
                return confused
        refusal = self._judge_models(policy, seen) if asked.has_models else None
        return refusal if asked.is_billed_now else refusal or self._judge_bound(policy, route, seen)

    def _ask(self, policy: KeyPolicy | None, route: Route, head: RequestHead) -> _Asked:
        known = self._asked.get(id(head))
        if known is not None and known.head is head and known.policy is policy:
            return known
        is_limited = self.limits(policy)
        asked = _Asked(
            head,
            policy,
            is_limited and self._needs_body(policy, route, head.method),
            is_limited and _overrides_method(head),
            _form_type(head),
            policy is not None and bool(policy.models),
            route.target.is_free or _is_billed_now(route),
        )
        if len(self._asked) >= _MOST_ASKED:
            self._asked.clear()
        self._asked[id(head)] = asked
        return asked

    def _judge_models(self, policy: KeyPolicy | None, seen: Peek | None) -> Refusal | None:
        if policy is None or not policy.models:
            return None
        for model in (seen.model, *seen.other_models) if seen is not None else (None,):
            if model is None:
                return Refusal("model_not_allowed", 403, f"the key `{policy.name}` must name one of its models")
            if not policy.allows_model(model):
                return Refusal("model_not_allowed", 403, f"the key `{policy.name}` may not use the model `{model}`")
        return None

    def _judge_bound(self, policy: KeyPolicy | None, route: Route, seen: Peek | None) -> Refusal | None:
        """Refuse what nobody can bound where a hard budget applies that does not allow it."""
        budget = self._budgets.forbids_unbounded(policy, seen.model if seen is not None else None)
        if budget is None:
            return None
        what = f"{route.operation.endpoint} requests" if route.operation is not None else "a path unknown here"
        message = f"nobody can say beforehand what {what} will cost, so the budget {budget} lets none through;"
        return Refusal("model_not_allowed", 403, f"{message} set `unbounded: allow` for that budget to permit them")

    def judge_session(self, policy: KeyPolicy | None, route: Route, model: str | None) -> Refusal | None:
        """Decide about a session from its URL; what its messages name is judged as they come."""
        operation = route.operation
        seen = Peek(model, True, None, None, 1, None, None, False)
        names_later = operation is not None and (operation.dialect, operation.endpoint) in NAMED_IN_MESSAGES
        refusal = None if model is None and names_later else self._judge_models(policy, seen)
        if refusal is not None or route.target.is_free or _is_generation(route):
            return refusal
        budget = self._budgets.forbids_unbounded(policy, model)
        if budget is None:
            return None
        message = f"nobody can say beforehand what such a session will cost, so the budget {budget} lets none through;"
        return Refusal("model_not_allowed", 403, f"{message} set `unbounded: allow` for that budget to permit them")

    def judge_message(self, policy: KeyPolicy | None, operation: Operation | None, text: bytes) -> Refusal | None:
        """Decide about a message of a session."""
        if operation is None:
            return None
        confused = _confused(confusing_member, text, operation)
        if confused is not None:
            return confused
        for model in models_named(text, operation):
            seen = Peek(model, True, None, None, 1, None, None, False)
            if (refusal := self._judge_models(policy, seen)) is not None:
                return refusal
        return None

    def session_is_limited(self, policy: KeyPolicy | None) -> bool:
        """Say whether the messages of a session must be read before they may go."""
        return self._has_shared_budgets or (policy is not None and bool(policy.models or policy.budgets))

    def session_is_budgeted(self, policy: KeyPolicy | None) -> bool:
        """Say whether a session may come to use a model that a budget applies to."""
        return self._has_shared_budgets or (policy is not None and bool(policy.budgets))

    def cover(
        self,
        exchange: str,
        policy: KeyPolicy | None,
        route: Route,
        *,
        user: str | None,
        needed: Needed,
        ahead: tuple[int, int],
        now_ms: int,
    ) -> Cover | None:
        """Return what to ask of the ledger for a session; None: no budget applies.

        `ahead`: tokens of input and output to have covered beyond what is needed now. `now_ms`: when it began.
        """
        trusted = user if policy is not None and policy.trust_identity else None
        models = {model for model, _ in needed.models}
        lines = dict.fromkeys(line for model in models for line in self._budgets.lines(policy, trusted, model, now_ms))
        if not lines:
            return None
        return Cover(
            ticket=0,
            exchange=exchange,
            owner=self._owner,
            provider=route.target.provider,
            is_free=route.target.is_free,
            models=needed.models,
            input_tokens=needed.input_tokens + ahead[0],
            output_tokens=needed.output_tokens + ahead[1],
            unseen_tokens=needed.unseen_tokens,
            unlimited=needed.unlimited,
            tool_calls=needed.tool_calls,
            lines=tuple(lines),
            deny_unpriced=self._denies_unpriced and None not in models,
            known=needed.known,
            is_sliced=all(self._budgets.slices_streams(policy, model, has_limit=False) for model in models),
            holds_limited=not all(self._budgets.slices_streams(policy, model, has_limit=True) for model in models),
        )

    def wants_usage(self, route: Route, head: RequestHead, seen: Peek) -> bool:
        """Say whether a stream should be asked for its usage."""
        target = route.target
        if (
            not seen.is_streaming
            or route.dialect != "openai"
            or not _speaks_chat(route)
            or b"content-encoding" in head.lowered
            or target.include_usage == "never"
        ):
            return False
        return target.include_usage == "always" or (target.name, seen.model) not in self._rejects_usage

    def usage_was_rejected(self, route: Route, model: str | None) -> None:
        """Remember that an upstream objects to the usage option."""
        if len(self._rejects_usage) < _NEVER_REMEMBERED:
            self._rejects_usage.add((route.target.name, model))

    def reservation(
        self,
        exchange: str,
        policy: KeyPolicy | None,
        route: Route,
        *,
        method: bytes,
        user: str | None,
        input_bytes: int,
        body: bytes | None,
        peek: Peek | None,
        now_ms: int,
        is_session: bool = False,
    ) -> Reserve | None:
        """Return what to ask of the ledger; None: no budget and no shared limit applies.

        A method that spends nothing counts for rates alone. `is_session`: its messages may name models to which
        other budgets apply.
        """
        seen = _UNREAD if peek is None else peek
        model, operation = seen.model, route.operation
        trusted = user if policy is not None and policy.trust_identity else None
        lines = self._budgets.lines(policy, trusted, model, now_ms) if _spends(route, method) else ()
        rates = policy.rates if policy is not None else ()
        is_session = is_session and self.session_is_budgeted(policy)
        if not lines and not rates and not is_session:
            return None
        hidden = unseen(body, operation, seen) if lines and body and peek is not None else _NOTHING_UNSEEN
        is_billed_now = _is_billed_now(route)
        endpoint = operation.endpoint if operation is not None else "other"
        return Reserve(
            ticket=0,
            exchange=exchange,
            owner=self._owner,
            model=model,
            provider=route.target.provider,
            is_free=route.target.is_free,
            endpoint=endpoint,
            input_bytes=input_bytes - hidden.picture_bytes - seen.file_bytes,
            max_output_tokens=seen.max_output_tokens,
            choices=seen.choices,
            is_sliced=seen.is_streaming
            and _is_generation(route)
            and self._budgets.slices_streams(policy, model, has_limit=seen.max_output_tokens is not None),
            tier=seen.service_tier,
            lines=lines,
            rates=rates,
            deny_unpriced=self._denies_unpriced and bool(lines) and is_billed_now,
            is_bounded=is_billed_now and seen.is_bounded and not seen.other_models,
            unseen_tokens=hidden.tokens,
            tool_calls=hidden.tool_calls,
            speed=seen.speed,
            units=seen.units,
            is_session=is_session,
            may_be_awaited=endpoint == "responses" and body is not None and b"background" in body,
        )

    def balance_lines(self, policy: KeyPolicy | None, now_ms: int) -> tuple[BudgetLine, ...]:
        """Return every budget of a key's own, whatever the model."""
        return self._budgets.lines(policy, None, None, now_ms) if policy is not None else ()

    def describe(self, policy: KeyPolicy | None, accounts: tuple[Account, ...]) -> dict[str, object]:
        """Return what `/-/me` tells a caller about its key: name, budgets in USD, limits."""
        rates = policy.rates[0] if policy is not None and policy.rates else None
        return {
            "key": policy.name if policy is not None else None,
            "budgets": [
                {
                    "budget": account.budget,
                    "limit_usd": account.limit_nano_usd / 1e9,
                    "spent_usd": account.spent_nano_usd / 1e9,
                    "reserved_usd": account.reserved_nano_usd / 1e9,
                    "overrun_usd": account.overrun_nano_usd / 1e9,
                    "resets_at": _iso(account.resets_at_ms),
                }
                for account in accounts
            ],
            "limits": {
                "requests_per_minute": rates.requests_per_minute if rates else None,
                "tokens_per_minute": rates.tokens_per_minute if rates else None,
                "concurrent": rates.concurrent if rates else None,
            },
            "models": list(policy.models.patterns) if policy is not None else [],
            "upstreams": list(policy.upstreams) if policy is not None else [],
        }

    def refusal_of(self, refused: Refused, policy: KeyPolicy | None) -> Refusal:
        """Put the ledger's no into words."""
        message = explain(refused, policy.name if policy is not None else None)
        if refused.reason == "budget":
            return Refusal("budget_exceeded", self._budget_status, message)
        if refused.reason == "unpriced":
            return Refusal("model_not_allowed", 403, message)
        return Refusal("rate_limited", 429, message, retry_after_ms=refused.retry_after_ms or 1000)

    def lent_credential(self, policy: KeyPolicy | None, target: Target) -> bytes | None:
        """Return the header line that replaces the caller's credential; None: the caller's own is forwarded.

        A virtual key never leaves: without an `api_key` of the upstream nothing is sent in its place.
        """
        if policy is None or not (self._is_virtual or policy.is_dynamic):
            return None
        return credential_line(target.auth, target.api_key.reveal()) if target.api_key is not None else b""


def _confused(find: Callable[[bytes, _Op], str | None], text: bytes, operation: _Op) -> Refusal | None:
    """Refuse what two readers could understand in two ways; None: there is nothing of that kind."""
    try:
        member = find(text, operation)
    except BadRequest as error:
        return Refusal("bad_request", 400, str(error))
    if member is None:
        return None
    message = f"`{member}` decides about a limit of this key: it may stand once only, and in its usual spelling"
    return Refusal("bad_request", 400, message)


def _overrides_method(head: RequestHead) -> bool:
    """Say whether a request asks to be taken for another one; some servers take `_` for `-`."""
    if any(b"method" in name and name.replace(b"_", b"-") in _OVERRIDES for name in head.lowered):
        return True
    _, mark, query = head.target.partition(b"?")
    return bool(mark) and any(name in _OVERRIDES_IN_QUERY for name, _ in query_fields(query))


def _form_type(head: RequestHead) -> bytes | None:
    """Return the type of a form, b"" where the body is something else; None: the head names several types."""
    if sum(name.lower() == b"content-type" for name, _ in head.headers) > 1:
        return None
    content_type = head.lowered.get(b"content-type", b"")
    return content_type if is_form(content_type) else b""


def _is_generation(route: Route) -> bool:
    return route.operation is not None and route.operation.billing == "tokens"


def _is_billed_now(route: Route) -> bool:
    """Say whether the answer is what is billed: then there may be a bound."""
    operation = route.operation
    return operation is not None and operation.billing in ("tokens", "units") and operation.endpoint not in _ELSEWHERE


def _speaks_chat(route: Route) -> bool:
    operation = route.operation
    return operation is not None and operation.dialect == "openai" and operation.endpoint in ("chat", "completions")


def _spends(route: Route, method: bytes) -> bool:
    """Say whether a request may cost something: also what nobody knows may."""
    operation = route.operation
    if operation is not None and operation.endpoint.endswith("_socket"):
        return True  # its method is GET
    if method in _SPENDS_NOTHING:
        return False
    if method != b"POST":  # a server that does not mind the method takes it for a POST
        operation = find_operation(route.target.wire, "POST", route.endpoint) or operation
    return operation is None or operation.billing != "nothing" or operation.endpoint in _MINTS


def _iso(ms: int | None) -> str | None:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat().replace("+00:00", "Z") if ms is not None else None
