"""Content of the Messages API: a string, or blocks; whole, or growing in a stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from proxy.records import ToolCall
from proxy.wire.draft import Draft, joined

TOOL_USES: Final = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})


class Block(msgspec.Struct):
    """A block of content. Images and documents have no text and are skipped."""

    type: str | None = None
    id: str | None = None
    name: str | None = None
    text: str | None = None
    thinking: str | None = None
    input: Any = None
    content: str | list[Block | str] | None = None
    """Of a tool's result."""


Content = str | list[Block | str] | None


def text_of(content: Content) -> str:
    """Return the text of a content, tool results included; of several blocks, joined by newlines."""
    if isinstance(content, str):
        return content
    texts = (block if isinstance(block, str) else block.text or text_of(block.content) for block in content or ())
    return "\n".join([text for text in texts if text])


@dataclass(slots=True)
class Growing:
    """A block whose deltas are still coming."""

    block: Block
    texts: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Return the text so far."""
        return (self.block.text or "") + "".join(self.texts)

    def thinking(self) -> str:
        """Return the thinking so far."""
        return (self.block.thinking or "") + "".join(self.thoughts)

    def call(self) -> ToolCall:
        """Return the tool call so far."""
        given = self.block.input
        start = msgspec.json.encode(given).decode() if given not in (None, {}) else ""
        arguments = "".join(self.arguments) or start or ("{}" if given == {} else "")
        return ToolCall(choice=0, name=self.block.name, arguments=arguments, id=self.block.id)


def take_blocks(blocks: list[Growing], draft: Draft) -> None:
    """Fill in what the blocks of an answer say."""
    draft.output_text = joined([growing.text() for growing in blocks])
    draft.reasoning_text = joined([growing.thinking() for growing in blocks])
    draft.tool_calls = tuple(growing.call() for growing in blocks if growing.block.type in TOOL_USES)
