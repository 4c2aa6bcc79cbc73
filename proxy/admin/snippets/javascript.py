"""JavaScript: `fetch`, which every runtime has, with the bytes that were sent."""

from __future__ import annotations

import base64
import json

from proxy.admin.snippets.call import ADDRESS, Call


def javascript(call: Call) -> str:
    """Return a program (an ES module) that sends the request again."""
    call.check()
    address = f'(process.env.GLASSLINE_URL ?? "{ADDRESS}") + {_string(call.target)}'
    for number, (name, value) in enumerate(call.query):
        spelled = ("&" if number else "?") + name
        address += (
            f" + {_string(spelled)} + process.env.{call.variable}"
            if value is None
            else f" + {_string(spelled + value)}"
        )
    headers = "".join(
        f"    [{_string(name)}, {_value(value, variable)}],\n" for name, value, variable in call.sent_headers
    )
    body = f"  body: {_body(call.body)},\n" if call.body else ""
    return (
        f"const response = await fetch({address}, {{\n"
        f"  method: {_string(call.method)},\n  headers: [\n{headers}  ],\n{body}}});\n"
        "for await (const piece of response.body.pipeThrough(new TextDecoderStream())) process.stdout.write(piece);\n"
    )


def _body(body: bytes) -> str:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return f'Buffer.from("{base64.b64encode(body).decode()}", "base64")'
    return _string(text)


def _value(value: str, variable: str | None) -> str:
    if variable is None:
        return _string(value)
    return f"{_string(value)} + process.env.{variable}" if value else f"process.env.{variable}"


def _string(text: str) -> str:
    # A script inside a page could be ended by what it holds.
    return (
        json.dumps(text, ensure_ascii=False)
        .replace("\u2028", "\\u2028")
        .replace("\u2029", "\\u2029")
        .replace("</", "<\\/")
    )
