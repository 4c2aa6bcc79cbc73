"""Keys as people manage them: what each may do, what it spent, when it was last used, and whether it works.

A key of the configuration is shown and not changed here: the file is where it stands. What a key spent and when it was
used are read from sums, whatever the number of requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal

import httpx
import msgspec
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from proxy.admin.amounts import NANO, exact
from proxy.admin.answers import NotFoundError, QuestionError, json_answer, read_model
from proxy.admin.declared import DeclaredRoute, asker
from proxy.admin.errands import Errand, ErrandFailed, Messenger
from proxy.admin.instruments import Instruments
from proxy.admin.keys import IN_FORCE_S, KeyChange, KeyRequest, KeyStore, StoredKey
from proxy.admin.playground import hindrance
from proxy.admin.replay import Said, path_model, read_answer
from proxy.admin.shapes import account_shape
from proxy.admin.sheets import Row
from proxy.admin.twins import Listing, Pages, Twins
from proxy.admin.upstreams import UpstreamShape, find_upstream
from proxy.config import Config
from proxy.config.schema import Key
from proxy.gates.budgets import key_templates
from proxy.gates.keys import KEY_PREFIX
from proxy.ledger.accounts import AccountRow
from proxy.store import query as ask
from proxy.store.filter import parse_filter
from proxy.store.query import CostRow
from proxy.store.rollups import DAY_MS

USED_WITHIN_DAYS: Final = 90
"""A key that nobody used for longer counts as not used: sums of days are looked through for no more."""
_MOST_EXACT: Final = 100
"""Keys of which the very last request is looked up."""
_TEST_WORDS: Final = "Reply with the word ok."
_TEST_TOKENS: Final = 16
"""Enough for one word, and what some APIs ask for at least."""
_MOST_ANSWER: Final = 1024 * 1024
"""Bytes; whoever answers a word with more is not listened to."""


COLUMNS: Final = (
    *("name", "origin", "last_four", "models", "upstreams", "budgets_usd", "spent_usd", "created_ms", "revoked_ms"),
    *("last_used_ms", "requests_30d", "cost_30d_usd", "cost_month_usd"),
)
"""Of the twins."""


class KeyUse(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a key's requests."""

    requests_30d: int = 0
    cost_30d_nano_usd: int = 0
    cost_month_nano_usd: int = 0
    """Since the first of the month, UTC."""
    last_used_ms: int | None = None
    """Unix ms. None: not within the last 90 days."""


class KeyTest(BaseModel):
    """A small request to try a key with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    upstream: str | None = Field(None, max_length=64)
    """None: the one that answered for this model last, or the first that the key may use."""
    model: str = Field(min_length=1, max_length=256)


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What the data port answered."""

    status: int
    error_code: str | None
    """The data port's own, such as `budget_exceeded`; None: the answer is the provider's."""
    message: str | None
    """What was complained about; None: nothing."""
    text: str
    """What the model answered."""
    id: str | None
    """Id of the record."""
    upstream: str
    model: str


class KeyDesk:
    """The endpoints."""

    def __init__(
        self, config: Config, instruments: Instruments, keys: KeyStore, messenger: Messenger, twins: Twins
    ) -> None:
        self._config = config
        self._read = instruments
        self._keys = keys
        self._messenger = messenger
        self._twins = twins

    def routes(self) -> list[DeclaredRoute]:
        """Return the routes about keys."""
        return [
            DeclaredRoute("/api/keys", self.keys, least="viewer"),
            *self._twins.routes("/api/keys", Listing("keys", lambda _: COLUMNS, self._pages), least="viewer"),
            DeclaredRoute("/api/keys", self.create, least="editor", method="POST"),
            DeclaredRoute("/api/keys/{name}", self.key, least="viewer"),
            DeclaredRoute("/api/keys/{name}", self.change, least="editor", method="PATCH"),
            DeclaredRoute("/api/keys/{name}", self.revoke, least="editor", method="DELETE"),
            DeclaredRoute("/api/keys/{name}/test", self.test, least="editor", method="POST"),
        ]

    async def keys(self, _: Request) -> Response:
        """Every key of the configuration and every one that was made at run time; never a secret."""
        shapes = await self._shapes()
        return json_answer({"keys": shapes, "auth": self._config.auth})

    async def _pages(self, _: Request) -> Pages:
        yield [_told(shape) for shape in await self._shapes()]

    async def key(self, request: Request) -> Response:
        """One key: the one in force with this name, or else the last that was revoked."""
        name = request.path_params["name"]
        found = [shape for shape in await self._shapes() if shape["name"] == name]
        if not found:
            raise NotFoundError("no key has this name")
        living = [shape for shape in found if shape["revoked_ms"] is None]
        return json_answer((living or found)[-1])

    async def create(self, request: Request) -> Response:
        """Make a key; the answer is the only one that holds it."""
        wanted = await read_model(KeyRequest, request)
        self._judge(wanted.upstreams)
        made = await asyncio.to_thread(self._keys.create, wanted, asker(request))
        await asyncio.sleep(IN_FORCE_S)
        return json_answer(made.model_dump(mode="json"), status=201)

    async def change(self, request: Request) -> Response:
        """Give a key other limits."""
        wanted = await read_model(KeyChange, request)
        if wanted == KeyChange():
            raise QuestionError("nothing to change: name upstreams, models, budgets, rate_limits or tags")
        self._judge(wanted.upstreams or ())
        name = request.path_params["name"]
        self._judge_origin(name)
        changed = await asyncio.to_thread(self._keys.change, name, wanted, asker(request))
        await asyncio.sleep(IN_FORCE_S)
        return json_answer(changed.model_dump(mode="json"))

    async def revoke(self, request: Request) -> Response:
        """End a key."""
        revoked = await asyncio.to_thread(self._keys.revoke, request.path_params["name"], asker(request))
        await asyncio.sleep(IN_FORCE_S)
        return json_answer(revoked.model_dump(mode="json"))

    async def test(self, request: Request) -> Response:
        """Send a small request with a key, and tell what came of it: an answer, or why it was refused."""
        name, wanted = request.path_params["name"], await read_model(KeyTest, request)
        allowed = await self._upstreams_of(name)
        chosen = wanted.upstream or await self._upstream_for(wanted.model, allowed)
        upstream = find_upstream(self._config, chosen)
        if upstream is None:
            raise QuestionError(f"upstream: none is called {chosen}")
        if (reason := hindrance(upstream)) is not None:
            raise QuestionError(reason)
        path, body = small_question(upstream, wanted.model)
        headers = {"content-type": "application/json", "anthropic-version": "2023-06-01"}
        if upstream.wire != "anthropic":
            del headers["anthropic-version"]
        errand = Errand(name, upstream.name, path, body, headers, {"test": "key"})
        return json_answer(await self._outcome(errand, upstream, wanted.model))

    async def _outcome(self, errand: Errand, upstream: UpstreamShape, model: str) -> Trial:
        body = bytearray()
        async with self._messenger.send(errand) as answer:
            try:
                async for piece in answer.aiter_raw():
                    body += piece[: _MOST_ANSWER - len(body)]
                    if len(body) >= _MOST_ANSWER:
                        break
            except httpx.HTTPError as error:
                raise ErrandFailed(f"the answer broke off: {type(error).__name__}") from error
        heard: Said = await asyncio.to_thread(
            read_answer,
            upstream.wire,
            errand.path,
            errand.body,
            answer.status_code,
            tuple(answer.headers.raw),
            bytes(body),
        )
        return Trial(
            status=answer.status_code,
            error_code=answer.headers.get("x-glassline-error"),
            message=heard.error,
            text=heard.text,
            id=answer.headers.get("x-glassline-request-id"),
            upstream=upstream.name,
            model=model,
        )

    async def _upstream_for(self, model: str, allowed: tuple[str, ...]) -> str:
        """Return the upstream that answered for a model last, if a key may use it; else the first that it may use."""
        standard = allowed[0] if allowed else self._config.default_upstream
        async with self._read.store() as store:
            if store is None or set(model) & set('"*'):
                return standard
            rows = await store.run(ask.requests(parse_filter(f'model:"{model}" status:200'), limit=1))
        last = rows[0].upstream if rows else standard
        return last if not allowed or last in allowed else standard

    async def _upstreams_of(self, name: str) -> tuple[str, ...]:
        """Return the upstreams that a key may use; none: all. Raises NotFoundError, QuestionError."""
        configured = next((key for key in self._config.keys if key.name == name), None)
        if configured is not None:
            if self._config.auth == "passthrough":
                raise QuestionError(
                    f"{name} is a provider's key that applications send themselves: Glassline cannot send it for them"
                )
            return configured.upstreams
        stored = await asyncio.to_thread(self._keys.find, name)
        if stored is None:
            raise NotFoundError(f"no key named {name} is in force")
        return stored.upstreams

    def _judge(self, upstreams: Iterable[str]) -> None:
        unknown = [name for name in upstreams if find_upstream(self._config, name) is None]
        if unknown:
            raise QuestionError(f"upstreams: none is called {', '.join(unknown)}")

    def _judge_origin(self, name: str) -> None:
        if any(key.name == name for key in self._config.keys):
            raise QuestionError(f"{name} stands in the configuration: change it there")

    async def _shapes(self) -> list[dict[str, Any]]:
        stored = await asyncio.to_thread(self._keys.all)
        uses, accounts = await self._uses(), {row.budget: row for row in await self._read.accounts() if not row.scope}
        configured = [_configured_shape(key, uses, accounts) for key in self._config.keys]
        return [*configured, *(_stored_shape(key, uses, accounts) for key in stored)]

    async def _uses(self) -> dict[str, KeyUse]:
        """Return what became of each key's requests, from sums."""
        now = self._read.clock.wall_ms()
        today = now - now % DAY_MS
        month = datetime.fromtimestamp(now / 1000, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        async with self._read.store() as store:
            if store is None:
                return {}
            spent = await store.run(ask.costs(["key"], from_ms=int(month.timestamp() * 1000), to_ms=now + 1))
            recent = await store.run(ask.costs(["key"], from_ms=now - 30 * DAY_MS, to_ms=now + 1))
            days = await store.run(ask.last_days("key", from_ms=today - USED_WITHIN_DAYS * DAY_MS))
            newest = sorted(days, key=lambda name: -days[name])[:_MOST_EXACT]
            for name in newest:
                page = await store.run(ask.requests(parse_filter(f'key:"{name}"'), limit=1))
                days[name] = page[0].started_at if page else days[name]
        by_key, by_month = _by_key(recent), _by_key(spent)
        return {
            name: KeyUse(
                requests_30d=by_key[name].requests if name in by_key else 0,
                cost_30d_nano_usd=by_key[name].cost_nano_usd if name in by_key else 0,
                cost_month_nano_usd=by_month[name].cost_nano_usd if name in by_month else 0,
                last_used_ms=days.get(name),
            )
            for name in {*by_key, *by_month, *days}
        }


def _told(shape: Mapping[str, Any]) -> Row:
    """Return a row of the twins."""
    use: KeyUse = shape["use"]
    known = {name: shape[name] for name in COLUMNS if name in shape}
    return known | {
        "models": ", ".join(shape["models"]),
        "upstreams": ", ".join(shape["upstreams"]),
        "budgets_usd": ", ".join(str(budget["limit_usd"]) for budget in shape["budgets"]),
        "spent_usd": ", ".join(exact(account.spent_nano_usd if account else 0) for account in shape["accounts"]),
        "last_used_ms": use.last_used_ms,
        "requests_30d": use.requests_30d,
        "cost_30d_usd": use.cost_30d_nano_usd / NANO,
        "cost_month_usd": use.cost_month_nano_usd / NANO,
    }


def _by_key(rows: Iterable[CostRow]) -> dict[str, CostRow]:
    return {row.group[0]: row for row in rows if row.group[0] is not None}


def _configured_shape(key: Key, uses: Mapping[str, KeyUse], accounts: Mapping[str, AccountRow]) -> dict[str, Any]:
    last_four = key.key.get_secret_value()[-4:] if len(key.key.get_secret_value()) >= 24 else None
    return _shape(key, "config", None, last_four, uses, accounts) | {"created_ms": None, "revoked_ms": None}


def _stored_shape(key: StoredKey, uses: Mapping[str, KeyUse], accounts: Mapping[str, AccountRow]) -> dict[str, Any]:
    known = {"created_ms": key.created_ms, "revoked_ms": key.revoked_ms}
    return _shape(key, "dynamic", KEY_PREFIX, key.last_four, uses, accounts) | known


def _shape(
    key: Key | StoredKey,
    origin: Literal["config", "dynamic"],
    prefix: str | None,
    last_four: str | None,
    uses: Mapping[str, KeyUse],
    accounts: Mapping[str, AccountRow],
) -> dict[str, Any]:
    identities = [template.identity for template in key_templates(key.name, key.budgets)]
    return {
        "name": key.name,
        "origin": origin,
        "prefix": prefix,
        "last_four": last_four,
        "upstreams": key.upstreams,
        "models": key.models,
        "budgets": [budget.model_dump(mode="json") for budget in key.budgets],
        "accounts": [account_shape(accounts[identity]) if identity in accounts else None for identity in identities],
        "identities": identities,
        "rate_limits": key.rate_limits.model_dump(mode="json"),
        "tags": key.tags,
        "trust_identity": key.trust_identity,
        "use": uses.get(key.name, KeyUse()),
    }


def small_question(upstream: UpstreamShape, model: str) -> tuple[str, bytes]:
    """Return path and body of a question that costs next to nothing, as an upstream wants it. Raises ReplayError."""
    message = [{"role": "user", "content": _TEST_WORDS}]
    match upstream.wire:
        case "anthropic":
            return "/v1/messages", msgspec.json.encode(
                {"model": model, "max_tokens": _TEST_TOKENS, "messages": message}
            )
        case "gemini" | "vertex":
            contents = [{"role": "user", "parts": [{"text": _TEST_WORDS}]}]
            config = {"maxOutputTokens": _TEST_TOKENS}
            return f"/v1beta/models/{path_model(model)}:generateContent", msgspec.json.encode(
                {"contents": contents, "generationConfig": config}
            )
        case _:
            return "/chat/completions", msgspec.json.encode(
                {"model": model, "max_tokens": _TEST_TOKENS, "messages": message}
            )
