"""The wire of POST /v1/messages.

Shapes from Anthropic's documentation of streaming and the types of anthropic-sdk-python 2.11: a message without
content, blocks one after the other, a ping, running totals, the end; every event has its name.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from proxy.simulator.answer import Choice, Piece, ToolCall, joined
from proxy.simulator.anthropic.author import Written
from proxy.simulator.anthropic.errors import envelope
from proxy.simulator.reply import Event

_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_SIGNATURE = "c2lnbmVkIGJ5IHRoZSBzaW11bGF0b3I="
_encode = msgspec.json.encode
Fields = dict[str, object]


def message_object(written: Written) -> Fields:
    """Return a whole message."""
    choice = written.choice
    message = _head(written) | {
        "content": [*_shown_blocks(written)],
        "stop_reason": stop_reason(choice),
        "stop_sequence": None,
    }
    if written.answer.shows_usage:
        message["usage"] = usage_object(written)
    return message


def message_events(written: Written) -> Iterator[Event]:
    """Yield the events of a message."""
    yield from (Event(_named(said), tokens, reasoning) for said, tokens, reasoning in message_payloads(written))


def message_payloads(written: Written) -> Iterator[tuple[Fields, int, int]]:
    """Yield the data of each event, the tokens generated for it, and those of them that are reasoning."""
    choice, answer = written.choice, written.answer
    start = _head(written) | {"content": [], "stop_reason": None, "stop_sequence": None}
    if answer.shows_usage:
        # One token is what Anthropic says before it knows; the running totals come at the end.
        start["usage"] = usage_object(written) | {
            "output_tokens": 1,
            "output_tokens_details": None,
            "server_tool_use": None,
        }
    yield {"type": "message_start", "message": start}, 0, 0
    if choice.hidden_reasoning:
        yield {"type": "ping"}, choice.hidden_reasoning, choice.hidden_reasoning
    for index, (block, deltas) in enumerate(_growing_blocks(written)):
        tokens = _name_tokens(choice, block)
        yield {"type": "content_block_start", "index": index, "content_block": block}, tokens, 0
        if index == 0:
            yield {"type": "ping"}, 0, 0
        for delta, tokens in deltas:
            reasoning = tokens if delta["type"] == "thinking_delta" else 0
            yield {"type": "content_block_delta", "index": index, "delta": delta}, tokens, reasoning
        yield {"type": "content_block_stop", "index": index}, 0, 0
    yield _message_delta(written), 0, 0
    yield {"type": "message_stop"}, 0, 0


def message_failure(_written: int) -> bytes:
    """Return the event that reports a failure in the middle of a stream."""
    return b"event: error\ndata: " + envelope("overloaded_error", "Overloaded") + b"\n\n"


def usage_object(written: Written) -> Fields:
    """Return the usage as the Messages API reports it: the input without what the cache took."""
    usage = written.usage
    extra = dict(usage.extra)
    five, hour = int(extra.get("cache_write_5m_tokens", 0)), int(extra.get("cache_write_1h_tokens", 0))
    said: Fields = {
        "input_tokens": usage.input_tokens - usage.cached_tokens - five - hour,
        "cache_creation_input_tokens": five + hour,
        "cache_read_input_tokens": usage.cached_tokens,
        "cache_creation": {"ephemeral_5m_input_tokens": five, "ephemeral_1h_input_tokens": hour},
        "output_tokens": usage.output_tokens,
        "server_tool_use": _server_tools(written),
        "service_tier": "batch" if written.is_batch else "standard",
        "inference_geo": written.region,
    }
    if usage.reasoning_tokens:
        said["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    if written.speed is not None:
        said["speed"] = written.speed
    return said


def stop_reason(choice: Choice) -> str:
    """Return why the answer ended. A call ends it in one way, forced or not."""
    return "tool_use" if choice.tool_calls and choice.finish_reason != "length" else _REASONS[choice.finish_reason]


def tool_id(call: ToolCall) -> str:
    """Return the call's id as Anthropic writes them."""
    return f"toolu_{call.id.removeprefix('call_')}"


def _head(written: Written) -> Fields:
    return {
        "id": f"msg_{written.answer.identity[:24]}",
        "type": "message",
        "role": "assistant",
        "model": written.answer.model,
    }


def _message_delta(written: Written) -> Fields:
    said: Fields = {
        "type": "message_delta",
        "delta": {"stop_reason": stop_reason(written.choice), "stop_sequence": None},
    }
    if written.answer.shows_usage:
        kept = ("cache_creation", "service_tier", "inference_geo", "speed")
        said["usage"] = {name: part for name, part in usage_object(written).items() if name not in kept}
    return said


def _server_tools(written: Written) -> Fields | None:
    return {"web_search_requests": written.searches, "web_fetch_requests": 0} if written.searches else None


def _shown_blocks(written: Written) -> Iterator[Fields]:
    """Yield the blocks, whole."""
    choice = written.choice
    if choice.reasoning:
        yield {"type": "thinking", "thinking": joined(choice.reasoning), "signature": _SIGNATURE}
    yield from _search(written)
    if choice.content:
        yield {"type": "text", "text": joined(choice.content)}
    for call in choice.tool_calls:
        yield {"type": "tool_use", "id": tool_id(call), "name": call.name, "input": _arguments(call)}


def _growing_blocks(written: Written) -> Iterator[tuple[Fields, Iterator[tuple[Fields, int]]]]:
    """Yield the blocks as they begin, each with its deltas and their tokens."""
    choice = written.choice
    if choice.reasoning:
        signed: tuple[Fields, int] = ({"type": "signature_delta", "signature": _SIGNATURE}, 0)
        thoughts = [*_deltas("thinking", "thinking", choice.reasoning), signed]
        yield {"type": "thinking", "thinking": "", "signature": ""}, iter(thoughts)
    for block in _search(written):
        yield block, iter(())
    if choice.content:
        yield {"type": "text", "text": ""}, _deltas("text", "text", choice.content)
    for call in choice.tool_calls:
        opening: Fields = {"type": "tool_use", "id": tool_id(call), "name": call.name, "input": {}}
        pieces = (Piece("", 0), *call.pieces)
        yield opening, _deltas("input_json", "partial_json", pieces)


def _search(written: Written) -> Iterator[Fields]:
    """Yield the blocks of a search that the provider made."""
    if not written.searches:
        return
    call = f"srvtoolu_{written.answer.identity[:24]}"
    yield {"type": "server_tool_use", "id": call, "name": "web_search", "input": {"query": "glass"}}
    found = {
        "type": "web_search_result",
        "url": "https://example.com/glass",
        "title": "Glass",
        "encrypted_content": _SIGNATURE,
        "page_age": None,
    }
    yield {"type": "web_search_tool_result", "tool_use_id": call, "content": [found]}


def _deltas(kind: str, field: str, pieces: tuple[Piece, ...]) -> Iterator[tuple[Fields, int]]:
    for text, tokens in pieces:
        yield {"type": f"{kind}_delta", field: text}, tokens


def _name_tokens(choice: Choice, block: Fields) -> int:
    calls = (call.name_tokens for call in choice.tool_calls if tool_id(call) == block.get("id"))
    return next(calls, 0)


def _arguments(call: ToolCall) -> object:
    """Return the arguments as an object; cut short by the limit they are none."""
    try:
        return msgspec.json.decode(call.arguments)
    except msgspec.DecodeError:
        return {}


def _named(said: Fields) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (str(said["type"]).encode(), _encode(said))
