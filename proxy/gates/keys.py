"""Whose key a credential is, and what it allows.

Keys are known by their HMAC-SHA-256 under a pepper that only this installation has. A digest is computed for every
request (about a microsecond), so nothing is cached that a revocation would have to reach: a new `KeyRing` is in force
from the next request on.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import msgspec

from proxy.config.schema import Budget, Key, RateLimits
from proxy.errors import StoreError
from proxy.gates.budgets import BudgetTemplate, key_templates
from proxy.gates.globs import Globs
from proxy.reservations import RateRule
from proxy.secrets import Secret

KEY_PREFIX: Final = "gl-"
"""Lets people and secret scanners recognise a key of ours."""
KEY_BYTES: Final = 32
"""43 url-safe characters: as many random bits as the digest has."""
_MADE: Final = re.compile(rb"gl-[A-Za-z0-9_-]{43}")
MAX_CREDENTIAL: Final = 8192
"""Bytes; longer ones are no keys of ours and are not worth a digest."""


@dataclass(frozen=True, slots=True)
class KeyPolicy:
    """What a key allows."""

    name: str
    upstreams: tuple[str, ...]
    """Empty: all."""
    models: Globs
    """Empty: all."""
    budgets: tuple[BudgetTemplate, ...]
    rates: tuple[RateRule, ...]
    """None or one."""
    tags: Mapping[str, str] = field(hash=False)
    trust_identity: bool = False
    """Headers of this key's callers may name the user whom a budget counts for."""
    is_dynamic: bool = False
    """Made by `glassline keys create` rather than written in the configuration."""
    is_gated: bool = field(init=False, compare=False)
    """A request must be read before it may go; asked several times for each."""

    def __post_init__(self) -> None:
        """Work out what follows from the rest."""
        object.__setattr__(self, "is_gated", bool(self.models or self.budgets or self.rates))

    def allows_upstream(self, name: str) -> bool:
        """Say whether the key may use the upstream called `name`."""
        return not self.upstreams or name in self.upstreams

    def allows_model(self, model: str | None) -> bool:
        """Say whether the key may use `model`; None, a model nobody could read, only where all are allowed."""
        return not self.models or (model is not None and self.models.match(model))


class DynamicKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key made at run time; its secret was shown once and is not kept."""

    name: str
    digest: str
    """`digest_of` the key, in hexadecimal."""
    created_ms: int
    revoked: bool = False
    upstreams: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    budgets: tuple[dict[str, str | int | float | bool | list[str] | None], ...] = ()
    """Each as in the configuration file."""
    rate_limits: dict[str, int | None] = {}
    """As in the configuration file."""
    tags: dict[str, str] = {}
    trust_identity: bool = False


class _Snapshot(msgspec.Struct, frozen=True):
    version: int
    keys: tuple[DynamicKey, ...]


SNAPSHOT_VERSION: Final = 1
SNAPSHOT_PURPOSE: Final = "keys.json"
"""What the file by which keys are published is encrypted for."""
_SNAPSHOT: Final = msgspec.json.Decoder(_Snapshot)


class KeyRing:
    """All keys in force."""

    def __init__(self, keys: Iterable[Key], dynamic: Iterable[DynamicKey], pepper: Secret) -> None:
        """Configured keys win over dynamic ones with the same secret."""
        self._pepper = pepper
        self._by_digest: dict[bytes, tuple[bytes, KeyPolicy]] = {}
        for made in dynamic:
            if not made.revoked:
                self._add(bytes.fromhex(made.digest), policy_of_dynamic(made))
        for key in keys:
            self._add(digest_of(key.key.get_secret_value().encode(), pepper), policy_of(key))

    def __len__(self) -> int:
        return len(self._by_digest)

    def find(self, credential: bytes | None) -> KeyPolicy | None:
        """Return the policy of the key that `credential` is; None: it is none of ours."""
        if not credential or len(credential) > MAX_CREDENTIAL:
            return None
        digest = digest_of(credential, self._pepper)
        found = self._by_digest.get(digest)
        if found is None or not hmac.compare_digest(found[0], digest):
            return None
        return found[1]

    def ticket(self, name: str, text: bytes, expires_s: int) -> str:
        """Return a proof, good until `expires_s` (Unix seconds), that the key called `name` may do what `text` says."""
        claim = f"{expires_s}.{name}"
        return f"{claim}.{self._seal(claim, text)}"

    def redeem(self, ticket: str, text: bytes, now_s: int) -> KeyPolicy | None:
        """Return the policy of the key to which `ticket` was given for `text`; None: it is none, or too old."""
        claim, _, seal = ticket.rpartition(".")
        expires, _, name = claim.partition(".")
        if not hmac.compare_digest(seal.encode(), self._seal(claim, text).encode()) or now_s > int(expires):
            return None
        return next((policy for _, policy in self._by_digest.values() if policy.name == name), None)

    def _seal(self, claim: str, text: bytes) -> str:
        return hmac.digest(self._pepper.reveal(), b"ticket\0" + claim.encode() + b"\0" + text, "sha256").hex()[:32]

    def _add(self, digest: bytes, policy: KeyPolicy) -> None:
        self._by_digest[digest] = (digest, policy)


def errand(upstream: str) -> bytes:
    """Return what a ticket says that the admin port gives itself, for a request to `upstream` on behalf of a key."""
    return b"errand\0" + upstream.encode()


def is_made_here(credential: bytes) -> bool:
    """Say whether a credential looks like a key made at run time, in force or not: no provider could use it."""
    return _MADE.fullmatch(credential) is not None


def digest_of(credential: bytes, pepper: Secret) -> bytes:
    """Return the only form in which a key is kept, 32 bytes."""
    return hmac.digest(pepper.reveal(), credential, "sha256")


def policy_of(key: Key) -> KeyPolicy:
    """Return the policy of a configured key."""
    return _policy(key.name, key.upstreams, key.models, key.budgets, key.rate_limits, key.tags, key.trust_identity)


def policy_of_dynamic(key: DynamicKey) -> KeyPolicy:
    """Return the policy of a dynamic key. Raises StoreError for budgets or limits that no configuration could hold."""
    try:
        budgets = [Budget.model_validate(budget) for budget in key.budgets]
        limits = RateLimits.model_validate(key.rate_limits)
    except ValueError as error:
        raise StoreError(f"key {key.name}: its budgets or limits cannot be read") from error
    return _policy(key.name, key.upstreams, key.models, budgets, limits, key.tags, key.trust_identity, is_dynamic=True)


def encode_snapshot(keys: Iterable[DynamicKey]) -> bytes:
    """Return the file by which admin tells gateways about dynamic keys."""
    return msgspec.json.encode(_Snapshot(SNAPSHOT_VERSION, tuple(keys)))


def decode_snapshot(data: bytes) -> tuple[DynamicKey, ...]:
    """Return the keys of such a file. Raises StoreError when it is not one."""
    try:
        snapshot = _SNAPSHOT.decode(data)
        for key in snapshot.keys:
            if len(bytes.fromhex(key.digest)) != 32:
                raise StoreError(f"key {key.name}: its digest is not one")
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise StoreError("the list of dynamic keys cannot be read") from error
    if snapshot.version != SNAPSHOT_VERSION:
        raise StoreError(f"the list of dynamic keys has version {snapshot.version}: use a newer Glassline")
    return snapshot.keys


def _policy(
    name: str,
    upstreams: tuple[str, ...],
    models: tuple[str, ...],
    budgets: Iterable[Budget],
    limits: RateLimits,
    tags: Mapping[str, str],
    trust_identity: bool,
    *,
    is_dynamic: bool = False,
) -> KeyPolicy:
    rule = RateRule(name, limits.requests_per_minute, limits.tokens_per_minute, limits.concurrent)
    has_rule = rule != RateRule(name)
    return KeyPolicy(
        name,
        upstreams,
        Globs(models),
        key_templates(name, budgets),
        (rule,) if has_rule else (),
        MappingProxyType(dict(tags)),
        trust_identity,
        is_dynamic,
    )
