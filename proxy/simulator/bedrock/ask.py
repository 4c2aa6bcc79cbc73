"""Reads what Converse and Invoke are asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from proxy.simulator.anthropic.breakpoints import Block, Lifetime
from proxy.simulator.ask import Ask, Tool, read_mapping
from proxy.simulator.desk import text_of
from proxy.simulator.rejection import RejectionError

_LIMITS = ("max_tokens", "max_gen_len", "max_tokens_to_sample", "max_new_tokens", "maxTokenCount", "maxTokens")
"""What the families call the most tokens to write."""


def read_converse(request: Mapping[str, object], model: str, *, is_streaming: bool) -> Ask:
    """Read a turn of a conversation. Raises RejectionError where there is none."""
    turns = request.get("messages")
    if not isinstance(turns, list) or not turns:
        raise RejectionError(400, "A conversation must start with a user message.")
    config = read_mapping(request.get("toolConfig"))
    last = read_mapping(turns[-1]).get("content")
    tier = text_of(read_mapping(request.get("serviceTier")).get("type")) or "default"
    return _ask(
        "converse",
        request,
        model,
        is_streaming=is_streaming,
        limit=_count(read_mapping(request.get("inferenceConfig")).get("maxTokens")),
        tools=tuple(_read_tools(config)),
        tool_choice=_read_tool_choice(read_mapping(config.get("toolChoice"))),
        follows_tool=any("toolResult" in read_mapping(block) for block in last) if isinstance(last, list) else False,
        tier=tier,
    )


def read_invoke(request: Mapping[str, object], model: str, *, is_streaming: bool) -> Ask:
    """Read a body in the model's own words."""
    places = (request, *(read_mapping(request.get(name)) for name in ("textGenerationConfig", "inferenceConfig")))
    limits = [_count(place.get(name)) for place in places for name in _LIMITS]
    limit = next((each for each in limits if each is not None), None)
    return _ask("invoke", request, model, is_streaming=is_streaming, limit=limit)


def converse_blocks(request: Mapping[str, object]) -> list[Block]:
    """Return the prompt in the order in which the cache sees it: tools, system, messages."""
    found: list[Block] = []
    turns = request.get("messages")
    contents = [read_mapping(turn).get("content") for turn in turns] if isinstance(turns, list) else []
    for content in (read_mapping(request.get("toolConfig")).get("tools"), request.get("system"), *contents):
        for value in content if isinstance(content, list) else ():
            block = read_mapping(value)
            if "cachePoint" not in block:
                found.append(Block(text_of(block.get("text")) or msgspec.json.encode(block, order="sorted").decode()))
            elif found:
                found[-1] = Block(found[-1].text, _lifetime(read_mapping(block["cachePoint"])))
    return found


def _ask(
    kind: str,
    request: Mapping[str, object],
    model: str,
    *,
    is_streaming: bool,
    limit: int | None,
    tools: tuple[Tool, ...] = (),
    tool_choice: str = "auto",
    follows_tool: bool = False,
    tier: str = "default",
) -> Ask:
    return Ask(
        kind=kind,
        model=model,
        is_streaming=is_streaming,
        includes_usage=True,
        is_padded=True,
        choices=1,
        limit=limit,
        tools=tools,
        tool_choice=tool_choice,
        follows_tool=follows_tool,
        schema=None,
        effort="",
        tier=tier,
        request=request,
    )


def _read_tools(config: Mapping[str, object]) -> Iterator[Tool]:
    tools = config.get("tools")
    for entry in tools if isinstance(tools, list) else ():
        spec = read_mapping(read_mapping(entry).get("toolSpec"))
        if isinstance(name := spec.get("name"), str):
            yield Tool(name, read_mapping(read_mapping(spec.get("inputSchema")).get("json")))


def _read_tool_choice(choice: Mapping[str, object]) -> str:
    if "tool" in choice:
        return text_of(read_mapping(choice["tool"]).get("name"))
    return "required" if "any" in choice else "auto"


def _lifetime(point: Mapping[str, object]) -> Lifetime:
    return "1h" if point.get("ttl") == "1h" else "5m"


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
