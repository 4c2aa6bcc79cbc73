"""Python: with the SDK of the API where it takes the whole request, with httpx otherwise."""

from __future__ import annotations

import pprint
from typing import Any, Final

from proxy.admin.snippets.call import ADDRESS, Call

_OPENAI: Final = {
    "chat": ("chat.completions.create", "/chat/completions"),
    "completions": ("completions.create", "/completions"),
    "responses": ("responses.create", "/responses"),
}
"""Methods and paths. Not of embeddings: there the SDK adds an encoding of its own."""
_KEYWORDS: Final = frozenset(
    (
        *("model", "messages", "input", "prompt", "instructions", "system", "stream", "tools", "tool_choice"),
        *("max_tokens", "max_completion_tokens", "max_output_tokens", "stop_sequences", "metadata"),
    )
)
"""What every version of the SDKs takes as a keyword of the methods that have it. All else goes into `extra_body`, which
comes out the same: Anthropic's SDK 2 has no keyword `temperature` any more."""
_TAKES: Final = {
    "chat": _KEYWORDS - {"input", "prompt", "instructions", "system", "max_output_tokens", "stop_sequences"},
    "completions": frozenset(("model", "prompt", "stream", "max_tokens")),
    "responses": _KEYWORDS - {"messages", "prompt", "system", "max_tokens", "max_completion_tokens", "stop_sequences"},
    "messages": _KEYWORDS - {"input", "prompt", "instructions", "max_completion_tokens", "max_output_tokens"},
}


_LARGEST_SHOWN: Final = 256 * 1024
_DEEPEST_SHOWN: Final = 32
"""Levels: to lay out a document, each is read once for every level around it."""


def python(call: Call) -> str:
    """Return a program that sends the request again."""
    call.check()
    document = call.document
    if isinstance(document, dict) and _can_be_shown(call, document):
        place = call.target
        method, path = _OPENAI.get(call.endpoint, ("", "\0"))
        if call.dialect == "openai" and place.endswith(path):
            return _openai(call, document, place.removesuffix(path), method)
        if call.dialect == "anthropic" and call.endpoint == "messages" and place.endswith("/v1/messages"):
            return _anthropic(call, document, place.removesuffix("/v1/messages"))
    return _httpx(call, document)


def _can_be_shown(call: Call, document: dict[str, Any]) -> bool:
    """Say whether a document can be laid out as Python in a moment."""
    if len(call.body) > _LARGEST_SHOWN or not all(isinstance(name, str) for name in document):
        return False
    level: list[Any] = [document]
    for _ in range(_DEEPEST_SHOWN):
        holders = [each for each in level if isinstance(each, dict | list)]
        level = [inner for each in holders for inner in (each.values() if isinstance(each, dict) else each)]
    return not level


def _openai(call: Call, document: dict[str, Any], base: str, method: str) -> str:
    headers = _extra_headers(call, {"content-type", "accept", "authorization"})
    client = f'OpenAI(base_url={_base(base)}, api_key=os.environ["{call.variable}"]{headers})'
    body = _request(document, _TAKES[call.endpoint])
    return (
        "import os\n\nfrom openai import OpenAI\n\n"
        f"client = {client}\n{body}"
        f"response = client.{method}(**request)\n{_shown(document)}"
    )


def _anthropic(call: Call, document: dict[str, Any], base: str) -> str:
    headers = _extra_headers(call, {"content-type", "accept", "x-api-key", "authorization"})
    client = f'Anthropic(base_url={_base(base)}, api_key=os.environ["{call.variable}"]{headers})'
    body = _request(document, _TAKES["messages"])
    return (
        "import os\n\nfrom anthropic import Anthropic\n\n"
        f"client = {client}\n{body}response = client.messages.create(**request)\n{_shown(document)}"
    )


def _httpx(call: Call, document: Any) -> str:
    pairs = [f"    ({name!r}, {_value(value, variable)}),\n" for name, value, variable in call.sent_headers]
    address = f"{_base(call.target)}"
    for number, (name, value) in enumerate(call.query):
        spelled = ("&" if number else "?") + name
        address += f' + {spelled!r} + os.environ["{call.variable}"]' if value is None else f" + {spelled + value!r}"
    content = repr(call.body)
    if isinstance(document, dict | list):
        # The text itself, so that not a byte differs.
        content = _text(call.body)
    return (
        "import os\n\nimport httpx\n\n"
        f"headers = [\n{''.join(pairs)}]\n"
        f"content = {content}\n"
        f"response = httpx.request({call.method!r}, {address}, headers=headers, content=content, timeout=600)\n"
        "print(response.text)\n"
    )


def _text(body: bytes) -> str:
    try:
        return repr(body.decode())
    except UnicodeDecodeError:
        return repr(body)


def _value(value: str, variable: str | None) -> str:
    if variable is None:
        return repr(value)
    return f'{value!r} + os.environ["{variable}"]' if value else f'os.environ["{variable}"]'


def _base(path: str) -> str:
    return f'os.environ.get("GLASSLINE_URL", "{ADDRESS}") + {path!r}'


def _extra_headers(call: Call, known: set[str]) -> str:
    found = [each for each in call.sent_headers if each[0].lower() not in known]
    if not found:
        return ""
    pairs = ", ".join(f"{name!r}: {_value(value, variable)}" for name, value, variable in found)
    return f", default_headers={{{pairs}}}"


def _request(document: dict[str, Any], takes: frozenset[str]) -> str:
    """Return the request as keywords; what the SDK does not know goes beside them."""
    known = {name: value for name, value in document.items() if name in takes}
    others = {name: value for name, value in document.items() if name not in takes}
    if others:
        known["extra_body"] = others
    return f"request = {pprint.pformat(known, width=110, sort_dicts=False)}\n"


def _shown(document: dict[str, Any]) -> str:
    if document.get("stream") is True:
        return "for event in response:\n    print(event)\n"
    return "print(response)\n"
