"""A desk for each server that speaks like OpenAI: OpenAI's own answer, respelled the server's way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec

from proxy.simulator.answer import Answer
from proxy.simulator.ask import Ask
from proxy.simulator.counting import TokenCounter
from proxy.simulator.desk import Asked, Desk, Headers, read_json, request_id, text_of
from proxy.simulator.openai.ask import read_ask
from proxy.simulator.openai.chat import DONE, chat_body, chat_events, chat_failure
from proxy.simulator.openai.errors import rejection_for, unknown_route, wrong_key
from proxy.simulator.openai.text import Author
from proxy.simulator.quirks.servers import SERVERS, Server
from proxy.simulator.rejection import RejectionError
from proxy.simulator.reply import Event, Plain, Reply, Stream
from proxy.simulator.settings import Settings
from proxy.simulator.truth import Request

_encode = msgspec.json.encode
_DATA = b"data: "


class QuirkDesk:
    """Answers chats as one such server does, below `/quirks/<its name>/`."""

    def __init__(self, name: str, _settings: Settings, counter: TokenCounter) -> None:
        self._prefix = f"/quirks/{name}/"
        self._server = SERVERS[name]
        self._author = Author(counter)

    def claims(self, request: Request) -> bool:
        """Say whether the path is this server's."""
        return request.path.startswith(self._prefix)

    def read(self, request: Request) -> tuple[Mapping[str, object], str]:
        """Decode JSON."""
        content = read_json(request)
        return content, text_of(content.get("model"))

    def reply(self, asked: Asked) -> Reply:
        """Answer."""
        if asked.request.method != "POST" or not asked.request.route.endswith("chat/completions"):
            raise unknown_route(asked.request.method, asked.request.path)
        for name in self._server.forbidden & asked.content.keys():
            raise RejectionError(422, "Extra inputs are not permitted", param=name)
        ask = read_ask("chat", asked.content)
        answer = self._author.write(asked, ask)
        if ask.is_streaming:
            prompt = replace(answer.usage, output_tokens=0, reasoning_tokens=0)
            return Stream(_Respelled(self._server, ask, answer).events(), prompt, chat_failure)
        return self._whole(answer)

    def rejection_for(self, status: int, code: str | None = None) -> RejectionError:
        """Return a refusal with OpenAI's words."""
        return rejection_for(status, code)

    def wrong_key(self, key: str) -> RejectionError:
        """Return OpenAI's 401."""
        return wrong_key(key)

    def reject(self, rejection: RejectionError) -> Plain:
        """Spell the server's envelope."""
        return Plain(rejection.status, rejection.body or _encode(self._server.refuse(rejection)))

    def headers(self, asked: Asked) -> Headers:
        """Return the request id."""
        return [(b"x-request-id", request_id(asked).encode())]

    def _whole(self, answer: Answer) -> Plain:
        body: dict[str, Any] = msgspec.json.decode(chat_body(replace(answer, shows_usage=False)))
        for choice in body["choices"]:
            _rename(choice["message"], self._server.reasoning)
        if answer.shows_usage:
            body["usage"] = self._server.spell(answer.usage)
        body |= self._server.beside(answer.usage)
        headers = tuple((name.encode(), value.encode()) for name, value in self._server.headers(answer.usage).items())
        return Plain(200, self._server.blanks + _encode(body), answer.usage, headers=headers)


class _Respelled:
    """A stream of OpenAI's, respelled."""

    def __init__(self, server: Server, ask: Ask, answer: Answer) -> None:
        self._server = server
        self._ask = ask
        self._answer = answer
        self._used = replace(answer.usage, output_tokens=0, reasoning_tokens=0)
        self._open = len(answer.choices)

    def events(self) -> Iterator[Event]:
        """Yield the events of the stream."""
        if self._server.comment:
            yield Event(self._server.comment)
        chunk: dict[str, Any] = {}
        for event in chat_events(self._answer, includes_usage=False, is_padded=False):
            self._used = self._used.plus(event.output_tokens, event.reasoning_tokens)
            if event == DONE:
                continue
            if event.data:
                chunk = msgspec.json.decode(event.data.removeprefix(_DATA))
                self._edit(chunk)
                event = event._replace(data=_DATA + _encode(chunk) + b"\n\n")
            yield event
        if self._has_own_chunk():
            beside = self._server.beside(self._used)
            shared = {name: value for name, value in chunk.items() if name not in beside}
            last = shared | {"choices": [], "usage": self._server.spell(self._used)}
            yield Event(_DATA + _encode(last | (beside if self._server.is_beside_usage else {})) + b"\n\n")
        yield DONE

    def _has_own_chunk(self) -> bool:
        is_wanted = self._server.place == "own" or (self._server.place == "asked" and self._ask.includes_usage)
        return is_wanted and self._answer.shows_usage

    def _edit(self, chunk: dict[str, Any]) -> None:
        [choice] = chunk["choices"]
        _rename(choice["delta"], self._server.reasoning)
        is_last = False
        if choice["finish_reason"] is not None:
            self._open -= 1
            is_last = self._open == 0
        if is_last and not (self._server.is_beside_usage and self._has_own_chunk()):
            chunk |= self._server.beside(self._used)
        if not self._answer.shows_usage:
            return
        if self._server.place == "every" or (is_last and self._server.place == "finish"):
            chunk["usage"] = self._server.spell(self._used)
        elif is_last and self._server.place == "x_groq":
            chunk["x_groq"] = {"id": f"req_{self._answer.identity[:26]}", "usage": self._server.spell(self._used)}


def _rename(message: dict[str, Any], name: str) -> None:
    if name != "reasoning_content" and "reasoning_content" in message:
        message[name] = message.pop("reasoning_content")


QUIRK_DESKS: tuple[Callable[[Settings, TokenCounter], Desk], ...] = tuple(partial(QuirkDesk, name) for name in SERVERS)
"""A maker for each server."""
