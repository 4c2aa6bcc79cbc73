"""The wire of /v1/images/*: pictures of the right number, whose tokens follow from size and quality.

Models of the GPT image family report tokens; DALL·E is billed by the piece and reports nothing.
"""

from __future__ import annotations

import base64
import hashlib
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from proxy.simulator.answer import CREATED, Usage
from proxy.simulator.counting import TokenCounter
from proxy.simulator.desk import Asked, text_of
from proxy.simulator.openai.errors import missing, stream_error
from proxy.simulator.openai.forms import files_of
from proxy.simulator.openai.switchboard import Row
from proxy.simulator.reply import Event, Plain, Reply, Stream

_TOKENS = {"low": 272, "medium": 1056, "high": 4160}
"""Output tokens of a square picture of gpt-image-1 (image generation guide, seen 2026-11)."""
_OBLONG = 1.5
"""By how much more an upright or wide picture needs; the guide's 1584 for 1056."""
_PER_INPUT_IMAGE = 323
"""Input tokens of a small picture: ours, of the order the guide gives."""
_PER_PARTIAL = 100
"""Output tokens that each partial picture costs in addition (the same guide)."""


class Studio:
    """Makes pictures."""

    def __init__(self, counter: TokenCounter) -> None:
        self._counter = counter

    def rows(self) -> Iterable[Row]:
        """Return what is answered here."""
        return (
            ("POST", "images/generations", self._generate),
            ("POST", "images/edits", self._edit),
            ("POST", "images/variations", self._vary),
        )

    def _generate(self, asked: Asked) -> Reply:
        return self._make(asked, "image_generation", _prompt(asked), 0)

    def _edit(self, asked: Asked) -> Reply:
        return self._make(asked, "image_edit", _prompt(asked), max(1, len(files_of(asked.content, "image"))))

    def _vary(self, asked: Asked) -> Reply:
        return self._make(asked, "", "", 1)

    def _make(self, asked: Asked, kind: str, prompt: str, given: int) -> Reply:
        number = _number(asked.content.get("n"), 1)
        if not asked.model.startswith("gpt-image"):
            data = [{"url": f"https://images.example/{asked.identity[:24]}-{index}.png"} for index in range(number)]
            bill = Usage(0, extra=(("images", number),))
            return Plain(200, msgspec.json.encode({"created": CREATED, "data": data}), bill)
        text = self._counter.text_counter(asked.model)(prompt)
        size, quality = _looks(asked.content)
        usage = Usage(text + given * _PER_INPUT_IMAGE, extra=(("input_image_tokens", given * _PER_INPUT_IMAGE),))
        made = number * _tokens(size, quality)
        if asked.content.get("stream") in (True, "true"):
            return Stream(_events(asked, kind, usage, made, size, quality), usage, _failure)
        data = [{"b64_json": _picture(asked.identity, index)} for index in range(number)]
        body = {"created": CREATED, "background": "opaque", "output_format": "png", "quality": quality, "size": size}
        billed = usage.plus(made, 0, (("output_image_tokens", made),))
        shown: Mapping[str, object] = {} if asked.wishes.no_usage else {"usage": _usage_object(billed)}
        return Plain(200, msgspec.json.encode({**body, "data": data, **shown}), billed)


def _events(asked: Asked, kind: str, prompt: Usage, made: int, size: str, quality: str) -> Iterator[Event]:
    looks: dict[str, object] = {"size": size, "quality": quality, "background": "opaque", "output_format": "png"}
    shared = {"created_at": CREATED, **looks}
    partials = _number(asked.content.get("partial_images"), 0)
    for index in range(partials):
        event = {"b64_json": _picture(asked.identity, 100 + index), "partial_image_index": index, **shared}
        yield _spell(f"{kind}.partial_image", event, _PER_PARTIAL)
    usage = prompt.plus(made + partials * _PER_PARTIAL, 0)
    shown: Mapping[str, object] = {} if asked.wishes.no_usage else {"usage": _usage_object(usage)}
    yield _spell(f"{kind}.completed", {"b64_json": _picture(asked.identity, 0), **shared, **shown}, made)


def _spell(kind: str, fields: Mapping[str, object], tokens: int) -> Event:
    data = msgspec.json.encode({"type": kind, **fields})
    return Event(b"event: %b\ndata: %b\n\n" % (kind.encode(), data), tokens, 0, (("output_image_tokens", tokens),))


def _failure(_written: int) -> bytes:
    return b"event: error\ndata: " + msgspec.json.encode({"type": "error", "error": stream_error()}) + b"\n\n"


def _usage_object(usage: Usage) -> dict[str, object]:
    images = int(dict(usage.extra).get("input_image_tokens", 0))
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"text_tokens": usage.input_tokens - images, "image_tokens": images},
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def _prompt(asked: Asked) -> str:
    prompt = text_of(asked.content.get("prompt"))
    if not prompt:
        raise missing("prompt")
    return prompt


def _looks(content: Mapping[str, object]) -> tuple[str, str]:
    size, quality = text_of(content.get("size")), text_of(content.get("quality"))
    return "1024x1024" if size in ("", "auto") else size, quality if quality in _TOKENS else "medium"


def _tokens(size: str, quality: str) -> int:
    width, _, height = size.partition("x")
    return int(_TOKENS[quality] * (1 if width == height else _OBLONG))


def _number(value: object, usual: int) -> int:
    text = str(value)
    return int(text) if text.isdecimal() else usual


def _picture(identity: str, index: int) -> str:
    """Return a real PNG of eight by eight dots."""
    dots = hashlib.shake_128(f"{identity}{index}".encode()).digest(64)
    rows = b"".join(b"\0" + dots[start : start + 8] for start in range(0, 64, 8))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows, 0)),
        (b"IEND", b""),
    )
    packed = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(packed)).decode()
