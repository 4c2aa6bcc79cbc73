"""Reads what the Messages API is asked, and refuses what it refuses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from proxy.simulator.anthropic.breakpoints import Block, Lifetime
from proxy.simulator.anthropic.errors import invalid
from proxy.simulator.ask import Ask, Tool, read_mapping
from proxy.simulator.desk import text_of
from proxy.simulator.rejection import RejectionError

_CHOICES = {"any": "required", "none": "none", "auto": "auto"}


def read_ask(request: Mapping[str, object], model: str, *, is_streaming: bool, kind: str = "messages") -> Ask:
    """Read a request for a message. Raises RejectionError for what Anthropic refuses."""
    if not model:
        raise invalid("model", "Field required")
    limit = request.get("max_tokens")
    if limit is None:
        raise invalid("max_tokens", "Field required")
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise invalid("max_tokens", "Input should be greater than or equal to 1")
    return Ask(
        kind=kind,
        model=model,
        is_streaming=is_streaming,
        includes_usage=True,
        is_padded=False,
        choices=1,
        limit=limit,
        tools=tuple(_read_tools(request)),
        tool_choice=_read_tool_choice(request),
        follows_tool=_follows_tool(request),
        schema=_read_schema(request),
        effort="",
        tier="standard",
        request=request,
    )


def turns_of(request: Mapping[str, object]) -> list[object]:
    """Return the messages. Raises RejectionError where there are none."""
    turns = request.get("messages")
    if not isinstance(turns, list):
        raise invalid("messages", "Field required")
    if not turns:
        raise invalid("messages", "at least one message is required")
    return turns


def blocks_of(request: Mapping[str, object]) -> list[Block]:
    """Return the prompt in the order in which the cache sees it: tools, system, messages."""
    tools = request.get("tools")
    found = [_block(tool) for tool in tools] if isinstance(tools, list) else []
    found += _content_blocks(request.get("system"))
    for turn in turns_of(request):
        found += _content_blocks(read_mapping(turn).get("content"))
    lifetime = _lifetime(read_mapping(request))
    if lifetime is not None and found:
        # Marked as a whole: the mark is put to the last block.
        found[-1] = Block(found[-1].text, lifetime)
    lifetimes = [block.lifetime for block in found if block.lifetime is not None]
    if len(lifetimes) > 4:
        raise RejectionError(400, f"A maximum of 4 blocks with cache_control may be provided. Found {len(lifetimes)}.")
    if "5m" in lifetimes and "1h" in lifetimes[lifetimes.index("5m") :]:
        raise RejectionError(400, "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block.")
    return found


def thinking_budget(request: Mapping[str, object]) -> int | None:
    """Return how many tokens the model may think, at most; None: it is not asked to."""
    thinking = read_mapping(request.get("thinking"))
    budget = thinking.get("budget_tokens")
    match thinking.get("type"):
        case "enabled" if isinstance(budget, int):
            return budget
        case "adaptive":
            return 1024
        case _:
            return None


def offers_search(request: Mapping[str, object]) -> bool:
    """Say whether the provider may search the web for its answer."""
    tools = request.get("tools")
    kinds = [text_of(read_mapping(tool).get("type")) for tool in tools] if isinstance(tools, list) else []
    return any(kind.startswith("web_search_") for kind in kinds)


def _read_tools(request: Mapping[str, object]) -> Iterator[Tool]:
    tools = request.get("tools")
    for entry in tools if isinstance(tools, list) else ():
        tool = read_mapping(entry)
        if "input_schema" in tool and isinstance(name := tool.get("name"), str):
            yield Tool(name, read_mapping(tool["input_schema"]))


def _read_tool_choice(request: Mapping[str, object]) -> str:
    choice = read_mapping(request.get("tool_choice"))
    if choice.get("type") == "tool":
        return text_of(choice.get("name"))
    return _CHOICES.get(text_of(choice.get("type")), "auto")


def _follows_tool(request: Mapping[str, object]) -> bool:
    content = read_mapping(turns_of(request)[-1]).get("content")
    blocks = content if isinstance(content, list) else []
    return any(read_mapping(block).get("type") == "tool_result" for block in blocks)


def _read_schema(request: Mapping[str, object]) -> Mapping[str, object] | None:
    asked = read_mapping(read_mapping(request.get("output_config")).get("format") or request.get("output_format"))
    return read_mapping(asked.get("schema")) if asked.get("type") == "json_schema" else None


def _content_blocks(content: object) -> list[Block]:
    if isinstance(content, str):
        return [Block(content)]
    return [_block(block) for block in content] if isinstance(content, list) else []


def _block(value: object) -> Block:
    block = read_mapping(value)
    text = block.get("text")
    if not isinstance(text, str):
        bare = {name: part for name, part in block.items() if name != "cache_control"}
        text = msgspec.json.encode(bare, order="sorted").decode()
    return Block(text, _lifetime(block))


def _lifetime(block: Mapping[str, object]) -> Lifetime | None:
    control = read_mapping(block.get("cache_control"))
    if control.get("type") != "ephemeral":
        return None
    return "1h" if control.get("ttl") == "1h" else "5m"
