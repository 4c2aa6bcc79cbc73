"""Estimate: what a request will cost, before it is sent.

The bound is the one that a budget would reserve: no request can cost more. What it will probably cost is a guess by
what is alike: the tokens of the request that it was made from, or of the model's requests of late.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Final

import msgspec

from pricing import PriceBook, Usage
from proxy.config import Pricing
from proxy.config.prices import price_book
from proxy.gates.admission import peek, unseen
from proxy.ledger.demand import MAX_AMOUNT, demand
from proxy.operations import Operation
from proxy.reservations import Reserve

_BYTES_PER_TOKEN: Final = 4
"""Of English text in a body, its JSON included; other scripts have fewer bytes to a token."""


class Alike(msgspec.Struct, frozen=True):
    """Something to guess by."""

    basis: str
    """What it is: `original`, or `model` for the average of a model's requests."""
    input_tokens: int | None = None
    input_bytes: int | None = None
    output_tokens: int | None = None


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What a request will cost."""

    model: str | None
    most_nano_usd: int | None
    """No request like this can cost more; None: nobody can say, or there is no price."""
    typical_nano_usd: int | None
    """None: there is no price, or nothing to guess by."""
    input_tokens: int
    """Guessed."""
    output_tokens: int | None
    """Guessed; None: nothing to guess by."""
    most_output_tokens: int | None
    """What the request allows, or the model can put out; None: nobody knows."""
    basis: str
    """What the guess is by: `original`, `model`, or `size` alone."""
    problem: str | None = None
    """Why there is no amount; None: there is one."""


class Estimator:
    """Estimates with the prices in force; they are loaded when first asked for."""

    def __init__(self, pricing: Pricing) -> None:
        self._pricing = pricing
        self._book: PriceBook | None = None
        self._loading = asyncio.Lock()

    async def book(self) -> PriceBook:
        """Return the prices in force."""
        async with self._loading:
            if self._book is None:
                self._book = await asyncio.to_thread(price_book, self._pricing)
            return self._book

    async def estimate(
        self, body: bytes, operation: Operation, *, provider: str | None, is_free: bool, alike: Alike | None
    ) -> Estimate:
        """Return what such a request will cost."""
        book = await self.book()
        return await asyncio.to_thread(_estimate, book, body, operation, provider, is_free, alike)


def _estimate(
    book: PriceBook, body: bytes, operation: Operation, provider: str | None, is_free: bool, alike: Alike | None
) -> Estimate:
    seen = peek(body, operation)
    if seen is None:
        return Estimate(
            model=operation.model,
            most_nano_usd=None,
            typical_nano_usd=None,
            input_tokens=len(body) // _BYTES_PER_TOKEN,
            output_tokens=None,
            most_output_tokens=None,
            basis="size",
            problem="the body cannot be read",
        )
    hidden = unseen(body, operation, seen)
    asked = Reserve(
        ticket=0,
        exchange="",
        owner="",
        model=seen.model,
        provider=provider,
        is_free=is_free,
        endpoint=operation.endpoint,
        input_bytes=len(body) - hidden.picture_bytes - seen.file_bytes,
        max_output_tokens=seen.max_output_tokens,
        choices=seen.choices,
        is_sliced=False,
        tier=seen.service_tier,
        lines=(),
        rates=(),
        is_bounded=operation.billing == "tokens" and seen.is_bounded and not seen.other_models,
        unseen_tokens=hidden.tokens,
        tool_calls=hidden.tool_calls,
        speed=seen.speed,
        units=seen.units,
    )
    now = datetime.now(UTC)
    rates = None
    if seen.model is not None:
        rates = book.rates(
            seen.model, provider=provider, at=now, tier=seen.service_tier, speed=seen.speed, free=is_free
        )
    need = demand(asked, rates)
    input_tokens, output_tokens = _guess(len(body), alike)
    usage = Usage.from_totals(input_tokens=input_tokens, output_tokens=output_tokens or 0)
    price = book.cost(usage, models=[seen.model or ""], provider=provider, at=now, free=is_free)
    is_known = need.is_priced and need.nano_usd <= MAX_AMOUNT
    return Estimate(
        model=seen.model,
        most_nano_usd=need.nano_usd if is_known else None,
        typical_nano_usd=price.nano_usd if output_tokens is not None else None,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        most_output_tokens=need.output_limit if rates is not None else seen.max_output_tokens,
        basis=alike.basis if alike is not None and output_tokens is not None else "size",
        problem=None if is_known else price.reason or "nobody can say beforehand what this will cost",
    )


def _guess(size: int, alike: Alike | None) -> tuple[int, int | None]:
    """Return the tokens that go in and come out."""
    if alike is None:
        return max(1, size // _BYTES_PER_TOKEN), None
    if alike.input_tokens and alike.input_bytes:
        return max(1, alike.input_tokens * size // alike.input_bytes), alike.output_tokens
    return max(1, size // _BYTES_PER_TOKEN), alike.output_tokens
