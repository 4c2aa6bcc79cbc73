"""Tokens: counting offline what a request will be billed for, when the provider does not say.

Estimates serve reservations, broken streams and servers that report no usage; they are never shown as the provider's.
Text counts exactly for OpenAI's public encodings; chat framing and function definitions follow OpenAI's published
counting rules (the cookbook "How to count tokens with tiktoken"), pictures its vision guide; the rest is approximate.
Nothing here raises over what a client sent. Counting takes CPU (17 MB of text a second): never on the data path.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from pricing.encodings import EncodingCorrupt, definition_of, load_encoding, tokenizer_of
from pricing.images import image_tokens
from pricing.prompts import chat_of, texts_to_embed

__all__ = ["EncodingCorrupt", "count_chat", "count_text", "encoding_name", "estimate_input"]

Json: TypeAlias = object
"""Anything decoded from a client's JSON; nothing about its shape is trusted."""

_PER_MESSAGE = 3
_PER_NAME = 1
_REPLY_PRIMING = 3
_PROPERTIES = 3
_PER_PROPERTY = 3
_ENUM = -3
_PER_ENUM_ITEM = 3
_FUNCTIONS_END = 12

_LONGEST_BLANK = 100_000
"""tiktoken 0.14.0 panics on a run of about a million white spaces (its regex engine overflows its stack); 500,000 pass."""

_DEEPEST = 64
"""Deeper nesting than this is not followed: no request needs it, and Python's stack is finite."""

_UNSEEN_TYPES = ("input_audio", "audio", "file", "input_file", "item_reference", "document", "video_url")
"""Parts of a message whose tokens cannot be told from the request: recordings, files, references to what was sent before.
A tuple: a client may send a type that cannot be hashed."""


def encoding_name(model: str) -> str:
    """Return the name of the encoding by which the tokens of this model are counted."""
    return tokenizer_of(model).encoding


def count_text(text: str, model: str) -> int:
    """Count the tokens of a text; what looks like a special token counts as the text it is."""
    tokenizer = tokenizer_of(model)
    encoded = sum(_encoded_length(tokenizer.encoding, piece) for piece in _pieces(text))
    return math.ceil(encoded * tokenizer.factor)


def count_chat(messages: Json, tools: Json, model: str) -> int:
    """Count the input tokens of a chat request: messages with their framing, and function definitions.

    What cannot be counted (recordings, files) counts nothing: `estimate_input` says when that happened.
    """
    return _Estimate(model).chat(messages, tools).tokens


def estimate_input(request: Mapping[str, object], kind: str, model: str) -> int | None:
    """Estimate the input tokens of a decoded request. None: it refers to something that is not in it.

    `kind`: the operation: `chat`, `completions`, `responses`, `embeddings`, Anthropic's `messages`, Gemini's
    `generate_content`, Bedrock's `converse` and `invoke`; None for any other.
    """
    estimate = _Estimate(model)
    if (translated := chat_of(request, kind)) is not None:
        estimate.chat(*translated)
        return estimate.tokens if estimate.is_complete else None
    if kind == "chat":
        estimate.chat(request.get("messages"), request.get("tools") or request.get("functions"))
    elif kind == "responses":
        estimate.responses(request)
    elif kind == "completions":
        estimate.prompt(request.get("prompt"))
        estimate.prompt(request.get("suffix"))
        estimate.prompt(request.get("system"))
        estimate.is_complete = not (request.get("images") or request.get("context"))  # Ollama's
    elif kind == "embeddings":
        estimate.prompt(texts_to_embed(request))
    else:
        return None
    return estimate.tokens if estimate.is_complete else None


class _Estimate:
    """A running count for one model."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.tokens = 0
        self.is_complete = True

    def chat(self, messages: Json, tools: Json) -> "_Estimate":
        for message in _items(messages):
            self.tokens += _PER_MESSAGE
            if isinstance(message, Mapping):
                self._message(message)
            else:
                self._value(message)
        self.tokens += _REPLY_PRIMING
        self._functions(tools)
        return self

    def responses(self, request: Mapping[str, object]) -> None:
        if any(request.get(key) for key in ("previous_response_id", "conversation", "prompt")):
            self.is_complete = False
        messages: list[Json] = [{"role": "developer", "content": text}] if (text := request.get("instructions")) else []
        sent = request.get("input")
        messages += [{"role": "user", "content": sent}] if isinstance(sent, str) else _items(sent)
        self.chat(messages, request.get("tools"))

    def prompt(self, prompt: Json) -> None:
        """Count a text, a list of texts, a list of token ids, or a list of such lists."""
        if isinstance(prompt, str):
            self.tokens += count_text(prompt, self.model)
        elif isinstance(prompt, int):
            self.tokens += 1
        else:
            for item in _items(prompt):
                if isinstance(item, (list, tuple)):
                    self.tokens += len(item)
                else:
                    self.prompt(item)

    def _message(self, message: Mapping[object, Json]) -> None:
        # What a client echoes back without the model reading it as text again.
        skipped = ("id", "type", "status", "encrypted_content", "call_id", "tool_call_id", "cache_control")
        if message.get("type") in _UNSEEN_TYPES or message.get("images"):
            self.is_complete = False  # Ollama's pictures, whose size in tokens nobody tells
            return
        for key, value in message.items():
            if key not in skipped:
                self._value(value)
            if key == "name" and value:
                self.tokens += _PER_NAME

    def _value(self, value: Json, depth: int = 0) -> None:
        if isinstance(value, str):
            self.tokens += count_text(value, self.model)
        elif isinstance(value, (int, float)):
            self._text(_text(value))
        elif depth >= _DEEPEST:
            self.is_complete = False
        elif isinstance(value, Mapping):
            self._part(value, depth)
        else:
            for item in _items(value):
                self._value(item, depth + 1)

    def _part(self, part: Mapping[object, Json], depth: int) -> None:
        kind = part.get("type")
        if kind in ("image_url", "input_image", "image"):
            self._image(part)
        elif kind in _UNSEEN_TYPES:
            self.is_complete = False
        else:
            for key, value in part.items():
                if key not in ("type", "id", "annotations", "logprobs", "cache_control"):
                    self._value(value, depth + 1)

    def _image(self, part: Mapping[object, Json]) -> None:
        source = part.get("image_url")
        holder = source if isinstance(source, Mapping) else part
        url = source if isinstance(source, str) else holder.get("url")
        rule = tokenizer_of(self.model).image
        if rule is None or not isinstance(url, str):
            self.is_complete = False
        else:
            self.tokens += image_tokens(rule, url, is_low_detail=holder.get("detail") == "low")

    def _functions(self, tools: Json) -> None:
        definitions = [definition for tool in _items(tools) if (definition := self._definition(tool)) is not None]
        if not definitions:
            return
        per_function = definition_of(encoding_name(self.model)).per_function
        for definition in definitions:
            self.tokens += per_function
            self._text(f"{_text(definition.get('name'))}:{_sentence(definition.get('description'))}")
            self._properties(definition.get("parameters"), 0)
        self.tokens += _FUNCTIONS_END

    def _definition(self, tool: Json) -> Mapping[object, Json] | None:
        if not isinstance(tool, Mapping):
            return None
        function = tool.get("function")
        if isinstance(function, Mapping):
            return function
        if tool.get("type") not in (None, "function", "custom"):
            # The provider puts text of its own before the prompt for its built-in tools.
            self.is_complete = False
            return None
        return tool

    def _properties(self, schema: Json, depth: int) -> None:
        properties = schema.get("properties") if isinstance(schema, Mapping) else None
        if not isinstance(properties, Mapping) or not properties or depth >= _DEEPEST:
            return
        self.tokens += _PROPERTIES
        for name, value in properties.items():
            self._property(_text(name), value if isinstance(value, Mapping) else {}, depth)

    def _property(self, name: str, schema: Mapping[object, Json], depth: int) -> None:
        self.tokens += _PER_PROPERTY
        choices = _items(schema.get("enum"))
        if choices:
            self.tokens += _ENUM
        for choice in choices:
            self.tokens += _PER_ENUM_ITEM
            self._text(_text(choice))
        self._text(f"{name}:{_text(schema.get('type'))}:{_sentence(schema.get('description'))}")
        # Nested schemas: our own extension of the rule, which knows flat ones only.
        self._properties(schema, depth + 1)
        self._properties(schema.get("items"), depth + 1)

    def _text(self, text: str) -> None:
        self.tokens += count_text(text, self.model)


def _items(value: Json) -> list[Json]:
    return list(value) if isinstance(value, (list, tuple)) else []


def _text(value: Json) -> str:
    if isinstance(value, str):
        return value
    try:
        return "" if value is None or isinstance(value, (list, tuple, Mapping)) else str(value)
    except ValueError:  # Python refuses to write integers of more than 4300 digits
        return ""


def _sentence(value: Json) -> str:
    return _text(value).removesuffix(".")


def _pieces(text: str) -> Iterator[str]:
    """Cut a text inside the runs of white space that tiktoken cannot stand."""
    start = 0
    for cut in _cuts(text) if len(text) > _LONGEST_BLANK else ():
        yield text[start:cut]
        start = cut
    yield text[start:]


def _cuts(text: str) -> Iterable[int]:
    for run in re.finditer(r"\s+", text):
        yield from range(run.start() + _LONGEST_BLANK, run.end(), _LONGEST_BLANK)


def _encoded_length(encoding: str, text: str) -> int:
    try:
        return len(load_encoding(encoding).encode_ordinary(text))
    except BaseException as error:
        # A Rust panic is no Exception: uncaught, one strange text would end the process that counts it, again and again.
        if type(error).__name__ != "PanicException":
            raise
        return len(text.encode("utf-8", "surrogatepass")) // 4
