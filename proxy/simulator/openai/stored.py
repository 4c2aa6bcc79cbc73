"""What the provider keeps of its answers: responses, which may go on in the background, and chat completions.

Work in the background is done after it was looked at a few times, not after some seconds: so a test that polls sees
every state, and waits for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from proxy.simulator.answer import CREATED, Answer, Usage
from proxy.simulator.ask import Ask
from proxy.simulator.counting import TokenCounter
from proxy.simulator.desk import Asked
from proxy.simulator.openai.ask import Kind, read_ask
from proxy.simulator.openai.drawer import Numbering, Object, listed, shown
from proxy.simulator.openai.errors import extra_forbidden
from proxy.simulator.openai.responses import responses_body, responses_events, responses_failure, usage_object
from proxy.simulator.openai.switchboard import Row
from proxy.simulator.openai.text import Author, body_of, spell
from proxy.simulator.rejection import RejectionError
from proxy.simulator.reply import Event, Plain, Reply, Stream

_MOST_KEPT = 1000
_NOTHING = Usage(0)
_LOOKS_UNTIL_DONE = 2
"""How often a background response is seen unfinished: queued, then in progress."""


@dataclass(slots=True)
class _Kept:
    ask: Ask
    answer: Answer
    looks_left: int = 0
    is_billed: bool = True
    """Its usage was shown to somebody, who is billed."""
    is_cancelled: bool = False


class ResponseShelf:
    """Responses."""

    def __init__(self, author: Author, counter: TokenCounter) -> None:
        self._author = author
        self._counter = counter
        self._numbering = Numbering()
        self._kept: dict[str, _Kept] = {}

    def rows(self) -> Iterable[Row]:
        """Return what is answered here."""
        return (
            ("POST", "responses", self._respond),
            ("POST", "responses/input_tokens", self._count),
            ("POST", "responses/compact", self._compact),
            ("GET", "responses/{}", self._retrieve),
            ("DELETE", "responses/{}", self._delete),
            ("POST", "responses/{}/cancel", self._cancel),
            ("GET", "responses/{}/input_items", self._list_input),
        )

    def _respond(self, asked: Asked) -> Reply:
        ask = read_ask("responses", asked.content)
        is_stored = asked.content.get("store") is not False
        answer = self._author.write(asked, ask, self._numbering.next(asked.identity) if is_stored else "")
        if not is_stored:
            return spell(ask, answer)
        is_waiting = asked.content.get("background") is True and not ask.is_streaming
        kept = _Kept(ask, answer, _LOOKS_UNTIL_DONE if is_waiting else 0, is_billed=not is_waiting)
        self._kept[f"resp_{answer.identity[:40]}"] = kept
        if len(self._kept) > _MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        return Plain(200, _unfinished(kept, "queued")) if is_waiting else spell(ask, answer)

    def _count(self, asked: Asked) -> Plain:
        ask = read_ask("responses", {"model": "gpt-5", **asked.content})
        tokens = self._counter.prompt("responses", asked.content, ask.model, asked.request.sha256)
        return shown({"object": "response.input_tokens", "input_tokens": tokens})

    def _compact(self, asked: Asked) -> Plain:
        ask = read_ask("responses", asked.content)
        answer = self._author.write(asked, ask, self._numbering.next(asked.identity))
        item = {"id": f"cmp_{answer.identity[:40]}", "type": "compaction", "encrypted_content": answer.identity}
        body = {
            "id": f"resp_{answer.identity[:40]}",
            "object": "response.compaction",
            "created_at": CREATED,
            "output": [item],
            "usage": usage_object(answer.usage),
        }
        return Plain(200, msgspec.json.encode(body), answer.usage)

    def _retrieve(self, asked: Asked, response_id: str) -> Reply:
        kept = self._find(response_id)
        if asked.request.query.get("stream") == "true":
            after = int(asked.request.query.get("starting_after") or -1)
            return Stream(_resumed(kept, after), _NOTHING, responses_failure)
        if kept.looks_left:
            kept.looks_left -= 1
            return Plain(200, _unfinished(kept, "queued" if kept.looks_left else "in_progress"))
        return self._show(kept)

    def _show(self, kept: _Kept) -> Plain:
        if kept.is_cancelled:
            return Plain(200, _unfinished(kept, "cancelled"))
        bill = None if kept.is_billed else kept.answer.usage
        kept.is_billed = True
        return Plain(200, _body(kept), bill)

    def _cancel(self, _asked: Asked, response_id: str) -> Plain:
        kept = self._find(response_id)
        if not kept.ask.request.get("background"):
            raise RejectionError(400, "Only background responses can be cancelled.")
        kept.is_cancelled = kept.is_cancelled or kept.looks_left > 0
        kept.looks_left = 0
        return self._show(kept)

    def _delete(self, _asked: Asked, response_id: str) -> Plain:
        self._find(response_id)
        del self._kept[response_id]
        return Plain(204, b"")

    def _list_input(self, _asked: Asked, response_id: str) -> Plain:
        kept = self._find(response_id)
        given = kept.ask.request.get("input")
        items = given if isinstance(given, list) else [{"type": "message", "role": "user", "content": given}]
        named: list[Object] = [{"id": f"msg_{index:032x}", **item} for index, item in enumerate(items)]
        return listed(named)

    def _find(self, response_id: str) -> _Kept:
        kept = self._kept.get(response_id)
        if kept is None:
            raise RejectionError(404, f"Response with id '{response_id}' not found.", param="id")
        return kept


class ChatShelf:
    """Chat completions, kept when they were asked to be (`store: true`)."""

    def __init__(self, author: Author, *, rejects_stream_options: bool) -> None:
        self._author = author
        self._rejects_stream_options = rejects_stream_options
        self._kept: dict[str, Object] = {}

    def rows(self) -> Iterable[Row]:
        """Return what is answered here."""
        return (
            ("POST", "chat/completions", self._chat),
            ("POST", "completions", self._complete),
            ("GET", "chat/completions", self._list),
            ("GET", "chat/completions/{}", self._retrieve),
            ("POST", "chat/completions/{}", self._update),
            ("DELETE", "chat/completions/{}", self._delete),
            ("GET", "chat/completions/{}/messages", self._messages),
        )

    def _chat(self, asked: Asked) -> Reply:
        return self._answer(asked, "chat")

    def _complete(self, asked: Asked) -> Reply:
        return self._answer(asked, "completions")

    def _answer(self, asked: Asked, kind: Kind) -> Reply:
        if self._rejects_stream_options and "stream_options" in asked.content:
            raise extra_forbidden("stream_options")
        ask = read_ask(kind, asked.content)
        answer = self._author.write(asked, ask)
        if kind == "chat" and asked.content.get("store") is True:
            kept = msgspec.json.decode(body_of(ask, answer)) | {"metadata": asked.content.get("metadata") or {}}
            self._kept[kept["id"]] = kept | {"input": asked.content.get("messages")}
            if len(self._kept) > _MOST_KEPT:
                del self._kept[next(iter(self._kept))]
        return spell(ask, answer)

    def _list(self, _asked: Asked) -> Plain:
        return listed([_without_input(kept) for kept in reversed(self._kept.values())])

    def _retrieve(self, _asked: Asked, completion_id: str) -> Plain:
        return shown(_without_input(self._find(completion_id)))

    def _update(self, asked: Asked, completion_id: str) -> Plain:
        kept = self._find(completion_id)
        kept["metadata"] = asked.content.get("metadata")
        return shown(_without_input(kept))

    def _delete(self, _asked: Asked, completion_id: str) -> Plain:
        self._find(completion_id)
        del self._kept[completion_id]
        return shown({"object": "chat.completion.deleted", "id": completion_id, "deleted": True})

    def _messages(self, _asked: Asked, completion_id: str) -> Plain:
        kept = self._find(completion_id)
        return listed([{"id": f"{completion_id}-{index}", **said} for index, said in enumerate(kept["input"] or ())])

    def _find(self, completion_id: str) -> Object:
        kept = self._kept.get(completion_id)
        if kept is None:
            raise RejectionError(404, f"No chat completion found with id '{completion_id}'.", param="id")
        return kept


def _without_input(kept: Object) -> Object:
    return {name: value for name, value in kept.items() if name != "input"}


def _body(kept: _Kept) -> bytes:
    body = responses_body(kept.ask, kept.answer)
    return body.replace(b'"background":false', b'"background":true', 1) if kept.ask.request.get("background") else body


def _unfinished(kept: _Kept, status: str) -> bytes:
    body: Object = msgspec.json.decode(_body(kept))
    return msgspec.json.encode(body | {"status": status, "output": [], "usage": None, "incomplete_details": None})


def _resumed(kept: _Kept, after: int) -> Iterator[Event]:
    """Yield the events that come after one, again; nothing is billed for showing them."""
    number = 0
    for event in responses_events(kept.ask, kept.answer):
        if event.data:
            if number > after:
                yield Event(event.data)
            number += 1
