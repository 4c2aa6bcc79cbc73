"""Who may do what: the decisions of admission, over a configuration that is handed in whole.

Pure apart from one memory: which upstream and model objected to our usage option.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from proxy.config import Config
from proxy.gates.admission import Peek, has_duplicates, unseen_input_tokens
from proxy.gates.budgets import Budgets
from proxy.gates.keys import KeyPolicy, KeyRing
from proxy.gates.refusal import explain
from proxy.gateway.framing import RequestHead
from proxy.gateway.identity import credential_headers, read_credentials
from proxy.gateway.refusal import Refusal
from proxy.gateway.routing import Route, Target
from proxy.reservations import Account, BudgetLine, Refused, Reserve

_SPENDS_NOTHING: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"DELETE"))
"""Methods that make no provider generate anything; any other may, so any other is judged."""
_NEVER_REMEMBERED: Final = 1024


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

    def find_key(self, lowered: dict[bytes, bytes]) -> KeyPolicy | None:
        """Return the policy of the key that a request presents; None: nobody configured it."""
        found = (self._keys.find(credential) for credential in read_credentials(lowered))
        return next((policy for policy in found if policy is not None), None)

    def judge_caller(self, policy: KeyPolicy | None, upstream: str) -> Refusal | None:
        """Decide from the credential and the upstream alone."""
        if policy is None:
            if self._is_virtual:
                return Refusal("invalid_key", 401, "Incorrect API key provided.")
            return None
        if not policy.allows_upstream(upstream):
            return Refusal("model_not_allowed", 403, f"the key `{policy.name}` may not use the upstream `{upstream}`")
        return None

    def window_for(self, policy: KeyPolicy | None, route: Route, method: bytes) -> int:
        """Return how many body bytes to collect before forwarding; 0: none, let the body flow."""
        if method in _SPENDS_NOTHING:
            return 0
        is_generation = _is_generation(route)
        if self._is_gated(policy) and is_generation:
            return self._body_bytes
        return self._window_bytes if is_generation or self._is_gated(policy) else 0

    def _is_gated(self, policy: KeyPolicy | None) -> bool:
        return self._has_shared_budgets or (policy is not None and policy.is_gated)

    def must_read(self, policy: KeyPolicy | None, body: bytes) -> bool:
        """Say whether a body must be read: for a limit, or because it may ask for a stream."""
        return self._is_gated(policy) or b'"stream"' in body or b"\\u" in body

    def judge_request(
        self, policy: KeyPolicy | None, route: Route, method: bytes, body: bytes | None, seen: Peek | None
    ) -> Refusal | None:
        """Decide from the body. Only a key with limits can be refused here; all other bodies pass as they are."""
        if method in _SPENDS_NOTHING or not self._is_gated(policy):
            return None
        if _is_generation(route):
            if seen is None:
                return Refusal("bad_request", 400, "a limit of this key needs a body that can be read as JSON")
            if body is not None and has_duplicates(body):
                return Refusal("bad_request", 400, "a field that decides about a limit of this key stands twice")
        model = seen.model if seen is not None else None
        if policy is not None and model is not None and not policy.allows_model(model):
            return Refusal("model_not_allowed", 403, f"the key `{policy.name}` may not use the model `{model}`")
        if policy is not None and model is None and policy.models and _is_generation(route):
            return Refusal("model_not_allowed", 403, f"the key `{policy.name}` must name one of its models")
        return None

    def wants_usage(self, route: Route, head: RequestHead, seen: Peek) -> bool:
        """Say whether a stream should be asked for its usage."""
        target = route.target
        if (
            not seen.is_streaming
            or target.wire != "openai"
            or kind_of(route) not in ("chat", "completions")
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
    ) -> Reserve | None:
        """Return what to ask of the ledger; None: no budget and no shared limit applies.

        A method that spends nothing counts for rates alone.
        """
        model = peek.model if peek is not None else None
        trusted = user if policy is not None and policy.trust_identity else None
        lines = self._budgets.lines(policy, trusted, model, now_ms) if method not in _SPENDS_NOTHING else ()
        if body is not None and peek is not None:
            input_bytes += unseen_input_tokens(body, peek)
        rates = policy.rates if policy is not None else ()
        if not lines and not rates:
            return None
        return Reserve(
            ticket=0,
            exchange=exchange,
            owner=self._owner,
            model=model,
            provider=route.target.provider,
            is_free=route.target.is_free,
            endpoint=kind_of(route),
            input_bytes=input_bytes,
            max_output_tokens=peek.max_output_tokens if peek is not None else None,
            choices=peek.choices if peek is not None else 1,
            is_streaming=peek.is_streaming if peek is not None else False,
            tier=peek.service_tier if peek is not None else None,
            lines=lines,
            rates=rates,
            deny_unpriced=self._denies_unpriced and bool(lines) and (_is_generation(route) or model is not None),
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
        return credential_headers(target.auth, target.api_key) if target.api_key is not None else b""


def kind_of(route: Route) -> str:
    """Return how a request can be bounded: the endpoint of an operation that is billed by the token, or `other`."""
    operation = route.operation
    return operation.endpoint if operation is not None and operation.billing == "tokens" else "other"


def _is_generation(route: Route) -> bool:
    return kind_of(route) != "other"


def _iso(ms: int | None) -> str | None:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat().replace("+00:00", "Z") if ms is not None else None
