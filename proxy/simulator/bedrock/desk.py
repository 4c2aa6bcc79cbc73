"""Bedrock's desk: what its runtime does with one model."""

from __future__ import annotations

import binascii
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

import msgspec

from proxy.simulator.answer import Answer, Usage
from proxy.simulator.anthropic.author import Author, Question
from proxy.simulator.anthropic.message import message_object, message_payloads
from proxy.simulator.ask import read_mapping
from proxy.simulator.bedrock.ask import converse_blocks, read_converse, read_invoke
from proxy.simulator.bedrock.converse import converse_body, converse_payloads
from proxy.simulator.bedrock.errors import kind_of, rejection_for, stream_failure
from proxy.simulator.bedrock.families import chunks, family_of
from proxy.simulator.bedrock.frames import STREAM, chunk_frame, event_frame
from proxy.simulator.counting import TokenCounter
from proxy.simulator.desk import Asked, Headers, read_json, request_id, text_of
from proxy.simulator.rejection import RejectionError
from proxy.simulator.reply import Event, Plain, Reply, Stream
from proxy.simulator.settings import Settings
from proxy.simulator.truth import Request

_PATH = re.compile(r"^model/(.+)/(converse|converse-stream|invoke|invoke-with-response-stream|count-tokens)$")
_CLAUDE = re.compile(r"claude-[a-z0-9-]+?(?=-v\d+|:|$)")
_LENGTH = 256
"""Numbers in the vector of an embedding."""
Headed = tuple[tuple[bytes, bytes], ...]


class BedrockDesk:
    """Answers as bedrock-runtime does; any bearer token and any signature will do."""

    def __init__(self, _settings: Settings, counter: TokenCounter) -> None:
        self._counter = counter
        self._author = Author(counter)

    def claims(self, request: Request) -> bool:
        """Say whether the path names a model and what to do with it."""
        return _PATH.match(request.route) is not None

    def read(self, request: Request) -> tuple[Mapping[str, object], str]:
        """Decode the body; the path names the model."""
        named = _PATH.match(request.route)
        return read_json(request), named[1] if named else ""

    def reply(self, asked: Asked) -> Reply:
        """Answer."""
        named = _PATH.match(asked.request.route)
        if named is None or asked.request.method != "POST":
            raise RejectionError(404, "Unable to determine service/operation name to be authorized")
        action = named[2]
        if action == "count-tokens":
            return self._count(asked)
        if action.startswith("converse"):
            return self._converse(asked, is_streaming=action == "converse-stream")
        return self._invoke(asked, is_streaming=action == "invoke-with-response-stream")

    def rejection_for(self, status: int, code: str | None = None) -> RejectionError:
        """Return Bedrock's refusal with this status."""
        return rejection_for(status, code)

    def wrong_key(self, _key: str) -> RejectionError:
        """Return Bedrock's 403."""
        return RejectionError(403, "Authentication failed: Please make sure your API Key is valid.")

    def reject(self, rejection: RejectionError) -> Plain:
        """Spell the kind in a header and the message in the body."""
        kind = rejection.kind or kind_of(rejection.status)
        body = rejection.body or msgspec.json.encode({"message": rejection.message})
        return Plain(rejection.status, body, headers=((b"x-amzn-errortype", f"{kind}:http://internal".encode()),))

    def headers(self, asked: Asked) -> Headers:
        """Return the request id."""
        return [(b"x-amzn-requestid", request_id(asked).encode())]

    def _converse(self, asked: Asked, *, is_streaming: bool) -> Reply:
        ask = read_converse(asked.content, asked.model, is_streaming=is_streaming)
        # Anthropic's thinking comes in the fields that are the model's own.
        own = read_mapping(asked.content.get("additionalModelRequestFields"))
        question = _question(asked, {**asked.content, "thinking": own.get("thinking")})
        answer = self._author.answer(ask, question, converse_blocks(asked.content))
        if not is_streaming:
            return Plain(200, msgspec.json.encode(converse_body(answer)), answer.usage)
        events = (
            Event(event_frame(kind, payload), tokens, reasoning)
            for kind, payload, tokens, reasoning in converse_payloads(answer)
        )
        return Stream(events, _before(answer.usage), stream_failure, STREAM)

    def _invoke(self, asked: Asked, *, is_streaming: bool) -> Reply:
        if "embed" in asked.model:
            return self._embed(asked)
        if "anthropic_version" in asked.content:
            return self._invoke_claude(asked, is_streaming=is_streaming)
        ask = read_invoke(asked.content, asked.model, is_streaming=is_streaming)
        answer = self._author.answer(ask, _question(asked, asked.content), ())
        family = family_of(asked.model)
        if not is_streaming:
            return _plain(family.body(answer), answer.usage)
        return _stream(chunks(family, answer), answer)

    def _invoke_claude(self, asked: Asked, *, is_streaming: bool) -> Reply:
        written = self._author.write(_question(asked, asked.content))
        # The answer has the maker's name of the model, whatever it is sold as.
        own = _CLAUDE.search(asked.model)
        written = replace(written, answer=replace(written.answer, model=own[0] if own else asked.model))
        if not is_streaming:
            return _plain(message_object(written), written.usage)
        return _stream(message_payloads(written), written.answer)

    def _embed(self, asked: Asked) -> Plain:
        tokens = self._counter.prompt("invoke", asked.content, asked.model, asked.request.sha256)
        rng = random.Random(asked.identity)
        vector = [round(rng.uniform(-1, 1), 6) for _ in range(_LENGTH)]
        return _plain({"embedding": vector, "inputTextTokenCount": tokens}, Usage(tokens), has_output=False)

    def _count(self, asked: Asked) -> Plain:
        given = read_mapping(asked.content.get("input"))
        body = text_of(read_mapping(given.get("invokeModel")).get("body"))
        kind = "invoke" if body else "converse"
        content = _decoded(body) if body else read_mapping(given.get("converse"))
        tokens = self._counter.prompt(kind, content, asked.model, asked.request.sha256)
        return Plain(200, msgspec.json.encode({"inputTokens": tokens}))


def _question(asked: Asked, content: Mapping[str, object]) -> Question:
    request = asked.request
    return Question(content, asked.model, request.credential, request.sha256, asked.identity, asked.wishes)


def _plain(body: Mapping[str, object], usage: Usage, *, has_output: bool = True) -> Plain:
    return Plain(200, msgspec.json.encode(body), usage, headers=_counts(usage, has_output=has_output))


def _stream(own: Iterator[tuple[dict[str, object], int, int]], answer: Answer) -> Stream:
    return Stream(
        _chunked(own, answer),
        _before(answer.usage),
        stream_failure,
        STREAM,
        ((b"x-amzn-bedrock-content-type", b"application/json"),),
    )


def _chunked(own: Iterator[tuple[dict[str, object], int, int]], answer: Answer) -> Iterator[Event]:
    """Yield the chunks; the last has the metrics of the invocation beside its own fields."""
    held: tuple[dict[str, object], int, int] | None = None
    for each in own:
        if held is not None:
            yield _event(*held)
        held = each
    if held is not None:
        said, tokens, reasoning = held
        metrics = {"amazon-bedrock-invocationMetrics": _metrics(answer.usage)} if answer.shows_usage else {}
        yield _event({**said, **metrics}, tokens, reasoning)


def _event(said: dict[str, object], tokens: int, reasoning: int) -> Event:
    return Event(chunk_frame(said), tokens, reasoning)


def _metrics(usage: Usage) -> dict[str, object]:
    written = _written(usage)
    said: dict[str, object] = {
        "inputTokenCount": usage.input_tokens - usage.cached_tokens - written,
        "outputTokenCount": usage.output_tokens,
        "invocationLatency": 2,
        "firstByteLatency": 1,
    }
    if usage.cached_tokens or written:
        said |= {"cacheReadInputTokenCount": usage.cached_tokens, "cacheWriteInputTokenCount": written}
    return said


def _counts(usage: Usage, *, has_output: bool) -> Headed:
    written = _written(usage)
    counts = {
        b"input": usage.input_tokens - usage.cached_tokens - written,
        b"output": usage.output_tokens if has_output else None,
        b"cache-read-input": usage.cached_tokens or None,
        b"cache-write-input": written or None,
    }
    found = {name: count for name, count in counts.items() if count is not None}
    return tuple((b"x-amzn-bedrock-%b-token-count" % name, b"%d" % count) for name, count in found.items())


def _written(usage: Usage) -> int:
    return int(sum(amount for name, amount in usage.extra if name.startswith("cache_write_")))


def _before(usage: Usage) -> Usage:
    """Return what is billed before the first token is out."""
    return replace(usage, output_tokens=0, reasoning_tokens=0)


def _decoded(body: str) -> Mapping[str, object]:
    try:
        return read_mapping(msgspec.json.decode(binascii.a2b_base64(body)))
    except (ValueError, msgspec.DecodeError) as error:
        raise RejectionError(400, "The body is not JSON in base64.") from error
