"""Echoes: our own secrets in what a provider answers.

Some providers repeat a key in an error (`Incorrect API key provided: sk-…`), in a header, or a whole request in its
answer. The client gets the answer as it is. What is stored is read by more people, so there the secrets of the configuration
are crossed out, byte for byte, so that lengths and offsets stay. Of a body whose content coding hides one, nothing is stored.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from proxy.config import Config
from proxy.config.hidden import secrets_of
from proxy.records import Body, Exchange, Headers, Reading
from proxy.secrets import Scrubber
from proxy.wire.decode import content_codings, decode


class Echoes:
    """Finds the secrets of a configuration in exchanges."""

    def __init__(self, config: Config) -> None:
        self._scrubber = Scrubber(secrets_of(config))

    def without(self, exchange: Exchange) -> Exchange:
        """Return `exchange` without secrets; the same object when there were none, as nearly always."""
        if not self._scrubber or not self._is_in(exchange):
            return exchange
        begin, end = exchange.begin, exchange.end
        request = self._body(exchange.request, begin.headers)
        response = self._body(exchange.response, end.headers)
        head, message = self._scrubber.scrub(end.head), end.error_message
        if message is not None:
            message = self._scrubber.scrub_text(message)
        headers = tuple((name, self._scrubber.scrub(value)) for name, value in begin.headers)
        return msgspec.structs.replace(
            exchange,
            begin=msgspec.structs.replace(begin, headers=headers),
            end=msgspec.structs.replace(end, head=head, error_message=message),
            request=request,
            response=response,
        )

    def without_text(self, reading: Reading) -> Reading:
        """Return a reading of an exchange in which there were secrets, without them."""
        plain = msgspec.to_builtins(reading)
        return msgspec.convert(self._scrubbed(plain), Reading)

    def _scrubbed(self, value: object) -> object:
        if isinstance(value, str):
            return self._scrubber.scrub_text(value)
        if isinstance(value, dict):
            return {key: self._scrubbed(each) for key, each in value.items()}
        if isinstance(value, Sequence) and not isinstance(value, bytes):
            return [self._scrubbed(each) for each in value]
        return value

    def _is_in(self, exchange: Exchange) -> bool:
        begin, end, request, response = exchange.begin, exchange.end, exchange.request, exchange.response
        message = (end.error_message or "").encode("utf-8", "surrogateescape")
        # Everything in one piece: to look is cheap, to begin to look is not.
        bodies = (request.head, request.tail, response.head, response.tail)
        if self._scrubber.finds(b"\n".join((*bodies, end.head, message, *[value for _, value in begin.headers]))):
            return True
        # Each call takes the head apart, and few answers are encoded.
        answered = end.headers if b"content-encoding" in end.head.lower() else ()
        return self._is_hidden(request, begin.headers) or self._is_hidden(response, answered)

    def _is_hidden(self, body: Body, headers: Headers) -> bool:
        codings = content_codings(headers) if body.head else ()
        return bool(codings) and self._scrubber.finds(decode(body.head, codings).data)

    def _body(self, body: Body, headers: Headers) -> Body:
        if self._is_hidden(body, headers):
            return msgspec.structs.replace(body, head=b"", tail=b"")
        head, tail = self._scrubber.scrub(body.head), self._scrubber.scrub(body.tail)
        return msgspec.structs.replace(body, head=head, tail=tail)
