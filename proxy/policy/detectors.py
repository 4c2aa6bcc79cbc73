"""Detectors: where in a text personal data and secrets stand.

A detector yields spans and may be wrong in one direction only with care: what it takes for personal data is lost to the
record. So numbers count only with a checksum (cards, IBANs) or with the marks of their kind (a `+` before a phone
number, dots or colons inside an address). Every built-in pattern takes time linear in the text: its repetitions are
bounded, and no two of them can share the same characters.

Most texts hold nothing, so each detector first looks for what a find cannot do without and is quick to find: a run of
digits, a colon, a word.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Final

Span = tuple[int, int]
Detector = Callable[[str], Iterator[Span]]

# --- e-mail ------------------------------------------------------------------------------------------------------------

_AT: Final = re.compile("[@\uff20]")
_LOCAL: Final = re.compile(r"\w[\w.!#$%'*+^`|~-]{0,63}\Z")
"""Without what RFC 5322 allows and what in practice stands before an address: quotes, braces, `=`, `/`, `?` and `&`."""
_DOMAIN: Final = re.compile(r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}(?:xn--[a-zA-Z0-9-]{1,59}|[^\W\d_]{2,24})")


def find_emails(text: str) -> Iterator[Span]:
    """Yield e-mail addresses, in any script, with a domain of two labels or more."""
    for at in _AT.finditer(text):
        domain = _DOMAIN.match(text, at.end())
        if domain is None:
            continue
        before = max(0, at.start() - 64)
        if local := _LOCAL.search(text[before : at.start()]):
            yield before + local.start(), domain.end()


# --- phone -------------------------------------------------------------------------------------------------------------

_GAP: Final = r"[ .\-/()\u00a0\u2011]{0,2}"
_PHONES: Final = re.compile(
    # International: +49 30 1234567, +1 (415) 555-2671, 0044 20 7946 0958.
    rf"(?<![\w+.])(?:(?:[+\uff0b](?:\(0\))?|[+\uff0b] (?=\d{{1,3}}[ .\-/(]))[1-9]|00[1-9]\d{{0,2}}[ .\-/](?=[(\d]))(?:{_GAP}\d){{6,14}}(?!\d)"
    # North American with its marks: (415) 555-2671, 415-555-2671, 415.555.2671.
    r"|(?<![\w+.\-])(?:1[ .-])?(?:\([2-9]\d\d\) ?|[2-9]\d\d[.-])[2-9]\d\d[ .-]\d{4}(?![\w-])"
)
_SAID: Final = re.compile(
    r"\b(?:tel|telephone|t[eé]l[eé]phone|phone|mobile|mobil|handy|cell|fax|whatsapp|telefon|tel[eé]fono|call)\b"
    rf"[.:# \u00a0]{{0,4}}(?:(?:no|nr|number|num)\b[.:# ]{{0,3}})?(?:is |me at )?(\(?\d(?:{_GAP}\d){{6,14}})(?!\d)",
    re.IGNORECASE,
)
"""A national number is one when the text says so: without a word before it, it is any number."""
_SIX_DIGITS: Final = re.compile(rf"\d(?:{_GAP}\d){{5,}}+")
_MARKS_BEFORE: Final = 16
_WORDS_BEFORE: Final = 80
"""Longer than anything that the patterns read before the digits."""
_ANNOUNCING: Final = ("tel", "t\u00e9l", "phone", "mobil", "handy", "cell", "fax", "whatsapp", "call")
"""One of them stands in whatever `_SAID` matches."""


def find_phones(text: str) -> Iterator[Span]:
    """Yield phone numbers: international, North American with separators, and any that a word announces."""
    for start, end in _around_digits(text, _MARKS_BEFORE):
        for match in _PHONES.finditer(text, start, end):
            yield match.span()
    folded = text.casefold()
    if any(word in folded for word in _ANNOUNCING):
        for start, end in _around_digits(text, _WORDS_BEFORE):
            for match in _SAID.finditer(text, start, end):
                yield match.span(1)


def _around_digits(text: str, before: int) -> Iterator[Span]:
    """Yield the stretches in which a number may stand, with so many letters before it."""
    start = reach = -1
    for run in _SIX_DIGITS.finditer(text):
        if start >= 0 and run.start() - before > reach:
            yield start, reach
            start = -1
        start = max(0, run.start() - before) if start < 0 else start
        reach = run.end() + 1
    if start >= 0:
        yield start, reach


# --- cards -------------------------------------------------------------------------------------------------------------

_THIRTEEN_DIGITS: Final = re.compile(r"\d(?:[ \-\u00a0]?\d){12}")
_DIGITS: Final = re.compile(r"(?<![\d.])\d(?:[ \-\u00a0]?\d){12,}+")
_ISSUERS: Final = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"  # Visa
    r"|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|3(?:0[0-5]|[689]\d)\d{11}"  # Diners Club
    r"|(?:6011|64[4-9]\d|65\d\d|62\d\d|81\d\d)\d{12}(?:\d{3})?"  # Discover, UnionPay
    r"|35(?:2[89]|[3-8]\d)\d{12}"  # JCB
    r"|(?:50|5[6-9]|6[0-9])\d{14}"  # Maestro
)


def find_cards(text: str) -> Iterator[Span]:
    """Yield payment card numbers: an issuer's prefix, its length and Luhn's checksum.

    Of a longer run of digits in groups, those groups that are one.
    """
    if not _THIRTEEN_DIGITS.search(text):
        return
    for run in _DIGITS.finditer(text):
        places = [run.start() + at for at, letter in enumerate(run[0]) if letter.isdigit()]
        edges = [at for at in range(1, len(places)) if places[at] != places[at - 1] + 1]
        end_places = {*edges, len(places)} if not text[run.end() : run.end() + 1].isdigit() else set(edges)
        for start in (0, *edges):
            for length in (19, 16, 15, 14, 13):
                if start + length in end_places and _is_card(
                    "".join(text[at] for at in places[start : start + length])
                ):
                    yield places[start], places[start + length - 1] + 1
                    break


def _is_card(digits: str) -> bool:
    return _ISSUERS.fullmatch(digits) is not None and _luhn(digits) % 10 == 0


def _luhn(digits: str) -> int:
    doubled = (2 * int(digit) for digit in digits[-2::-2])
    return sum(int(digit) for digit in digits[-1::-2]) + sum(value - 9 if value > 9 else value for value in doubled)


# --- IBAN --------------------------------------------------------------------------------------------------------------

_IBAN: Final = re.compile(r"\d\d(?<=[A-Za-z]{2}\d\d)(?<![^\W_][A-Za-z]{2}\d\d)(?=[ -]?[A-Za-z0-9])")
"""From its check digits on: letters are everywhere."""
_LENGTHS: Final = {
    text[:2]: int(text[2:])
    for text in [
        "AD24",
        "AE23",
        "AL28",
        "AT20",
        "AZ28",
        "BA20",
        "BE16",
        "BG22",
        "BH22",
        "BI27",
        "BR29",
        "BY28",
        "CH21",
        "CR22",
        "CY28",
        "CZ24",
        "DE22",
        "DJ27",
        "DK18",
        "DO28",
        "EE20",
        "EG29",
        "ES24",
        "FI18",
        "FK18",
        "FO18",
        "FR27",
        "GB22",
        "GE22",
        "GI23",
        "GL18",
        "GR27",
        "GT28",
        "HN28",
        "HR21",
        "HU28",
        "IE22",
        "IL23",
        "IQ23",
        "IS26",
        "IT27",
        "JO30",
        "KW30",
        "KZ20",
        "LB28",
        "LC32",
        "LI21",
        "LT20",
        "LU20",
        "LV21",
        "LY25",
        "MC27",
        "MD24",
        "ME22",
        "MK19",
        "MN20",
        "MR27",
        "MT31",
        "MU30",
        "NI28",
        "NL18",
        "NO15",
        "OM23",
        "PK24",
        "PL28",
        "PS29",
        "PT25",
        "QA29",
        "RO24",
        "RS22",
        "RU33",
        "SA24",
        "SC31",
        "SD18",
        "SE24",
        "SI19",
        "SK24",
        "SM27",
        "SO23",
        "ST25",
        "SV28",
        "TL23",
        "TN24",
        "TR26",
        "UA29",
        "VA22",
        "VG24",
        "XK20",
        "YE30",
    ]
}
"""SWIFT's registry of IBANs, release 100."""


def find_ibans(text: str) -> Iterator[Span]:
    """Yield IBANs: of a country that has them, of its length, with the right check digits; spaces and hyphens allowed."""
    for match in _IBAN.finditer(text):
        first = match.start() - 2
        length = _LENGTHS.get(text[first : first + 2].upper())
        if length is None:
            continue
        letters, at = "", first
        while len(letters) < length and at < len(text) and at - first < 2 * length:
            if text[at].isascii() and text[at].isalnum():
                letters += text[at]
            elif text[at] not in " -\u00a0":
                break
            at += 1
        follows = text[at : at + 1]
        if len(letters) == length and not follows.isalnum() and _has_check_digits(letters):
            yield first, at


def _has_check_digits(iban: str) -> bool:
    turned = iban[4:] + iban[:4]
    return int("".join(str(int(letter, 36)) for letter in turned)) % 97 == 1


# --- addresses of machines ---------------------------------------------------------------------------------------------

_OCTET: Final = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4: Final = re.compile(rf"(?<![\w.])(?:{_OCTET}\.){{3}}{_OCTET}(?!\w|\.\d)", re.ASCII)
_IPV6: Final = re.compile(
    r"(?<![\w:.])(?=[0-9A-Fa-f]{0,4}:[0-9A-Fa-f]{0,4}:)[0-9A-Fa-f:]{3,39}+(?:\.\d{1,3}){0,3}(?![\w:])"
)
_THREE_DOTS: Final = re.compile(r"\d\.\d{1,3}\.\d{1,3}\.\d")
_TWO_COLONS: Final = re.compile(r":[0-9A-Fa-f]{0,4}:")
_UNICAST: Final = 0x2000 << 112
_TRANSLATED: Final = ipaddress.IPv6Network("64:ff9b::/96")


def find_ips(text: str) -> Iterator[Span]:
    """Yield IPv4 and IPv6 addresses."""
    if _THREE_DOTS.search(text):
        for match in _IPV4.finditer(text):
            yield match.span()
    if not _TWO_COLONS.search(text):
        return
    for match in _IPV6.finditer(text):
        found = match[0].rstrip(":") if not match[0].endswith("::") else match[0]
        if sum(map(bool, re.split("[:.]", found))) >= 2 or found == "::1":
            try:
                address = ipaddress.IPv6Address(found)
            except ValueError:
                continue
            if "::" not in found or _is_in_use(address, found):
                yield match.start(), match.start() + len(found)


def _is_in_use(address: ipaddress.IPv6Address, text: str) -> bool:
    """Say whether an abridged address can be somebody's: programs say `list[1::2]` and `Face::add` as well."""
    if address.is_loopback or address.ipv4_mapped or address in _TRANSLATED:
        return True
    return int(address) >= _UNICAST and any(letter.isdigit() for letter in text)


# --- keys and tokens ---------------------------------------------------------------------------------------------------

_KEYS: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"sk-[A-Za-z0-9_-]{16,300}"  # OpenAI, Anthropic, OpenRouter, DeepSeek and others
    r"|gl-[A-Za-z0-9_-]{20,100}"  # ours
    r"|AIza[0-9A-Za-z_-]{35,60}|ya29\.[0-9A-Za-z_-]{20,500}|AQ\.[0-9A-Za-z_-]{20,200}"  # Google
    r"|(?:AKIA|ASIA|AROA|AIDA|AGPA|ANPA|ANVA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])|ABSK[A-Za-z0-9+/=]{40,200}"  # AWS
    r"|gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255}|glpat-[A-Za-z0-9_-]{20,100}"
    r"|xox[a-z]-[A-Za-z0-9-]{10,300}|xapp-[A-Za-z0-9-]{10,300}"  # Slack
    r"|(?:hf|gsk|npm|r8|nvapi|fw|csk)[_-][A-Za-z0-9_-]{20,200}|(?:xai|pplx|tgp|dapi)[-_]?[A-Za-z0-9_-]{32,200}"
    r"|[srp]k_(?:live|test)_[A-Za-z0-9]{10,200}|whsec_[A-Za-z0-9+/=]{20,200}|(?:ek|ephemeral)_[A-Za-z0-9_-]{20,200}"
    r"|SG\.[A-Za-z0-9_-]{16,64}\.[A-Za-z0-9_-]{16,64}|pypi-[A-Za-z0-9_-]{50,400}|dop_v1_[a-f0-9]{64}"
    r"|eyJ[A-Za-z0-9_-]{8,8000}(?:\.[A-Za-z0-9_-]{0,8000}){2,4}"  # JSON Web Tokens
    r")"
    r"|-----BEGIN [A-Z0-9 ]{1,40}-----(?:[^-]|-(?!-{4})){0,20000}(?:-----END [A-Z0-9 ]{1,40}-----|\Z|(?=\0))"
)
_CARRIED: Final = re.compile(
    r"\b(?:bearer|basic)[ \u00a0]{1,3}([A-Za-z0-9._~+/=-]{16,8000})"
    r"|(?<![A-Za-z0-9])(?:api[_-]?key|secret[_-]?(?:access[_-]?)?key|access[_-]?token|auth[_-]?token|client[_-]?secret|passw(?:or)?d)"
    r"[\"']?[ ]{0,2}[:=][ ]{0,2}[\"']?([^\s\"'\0,;&<>{}]{8,500})"
    r"|://[^/\s:@\0\"']{1,100}:([^/\s@\0\"']{3,200})@",
    re.IGNORECASE,
)
"""Secrets that only what stands before them gives away."""
_BEGINNINGS: Final = (
    *(
        "sk-",
        "gl-",
        "AIza",
        "ya29.",
        "AQ.",
        "ABSK",
        "ghp_",
        "gho_",
        "ghu_",
        "ghs_",
        "ghr_",
        "github_pat_",
        "glpat-",
        "xox",
    ),
    *("AKIA", "ASIA", "AROA", "AIDA", "AGPA", "ANPA", "ANVA", "ABIA", "ACCA", "xapp-", "dop_v1_", "SG.", "pypi-"),
    *(f"{name}{mark}" for name in ("hf", "gsk", "npm", "r8", "nvapi", "fw", "csk") for mark in "_-"),
    *("xai", "pplx", "tgp", "dapi", "sk_", "rk_", "pk_", "whsec_", "ek_", "ephemeral_", "eyJ", "-----BEGIN "),
)
"""One of them begins whatever `_KEYS` matches."""
_CARRIERS: Final = (
    *("bearer", "basic", "password", "passwd"),
    *(
        mark.join(words)
        for words in (
            ("api", "key"),
            ("secret", "key"),
            ("secret", "access"),
            ("access", "token"),
            ("auth", "token"),
            ("client", "secret"),
        )
        for mark in ("", "_", "-")
    ),
)
"""One of them stands in whatever `_CARRIED` matches, but for passwords in addresses."""


_NAME: Final = re.compile(
    r"(?:.{0,60}[^a-z0-9])?(?:"
    r"(?P<secret>(?:x[_-])?api[_-]?key|secret[_-]?(?:access[_-]?)?key|access[_-]?token|auth[_-]?token|client[_-]?secret"
    r"|passw(?:or)?d)"
    r"|(?P<phone>(?:tele|mobile[_-]?|cell[_-]?|home[_-]?|work[_-]?)?phone|tel|t[eé]l[eé]phone|mobile?|handy|fax|whatsapp"
    r"|telefon|tel[eé]fono)(?:[_-]?(?:no|nr|num|number))?"
    r")",
    re.IGNORECASE,
)


@lru_cache(1024)
def announced_by(name: str) -> str:
    """Return the words by which a detector knows what the name of a member announces; empty: nothing."""
    match = _NAME.fullmatch(name) if len(name) <= 100 else None
    if match is None:
        return ""
    return "password: " if match["secret"] else "phone: "


def find_keys(text: str) -> Iterator[Span]:
    """Yield keys and tokens: those with a known beginning, JSON Web Tokens, PEM blocks, and what a name announces."""
    for beginning in _BEGINNINGS:
        at = text.find(beginning)
        while at >= 0:
            match = _KEYS.match(text, at)
            if match:
                yield match.span()
            at = text.find(beginning, match.end() if match else at + 1)
    folded = text.casefold()
    if any(word in folded for word in _CARRIERS) or ("://" in folded and "@" in folded):
        for found in _CARRIED.finditer(text):
            yield found.span(found.lastindex or 0)


BUILT_IN: Final[dict[str, tuple[str, Detector]]] = {
    "email": ("EMAIL", find_emails),
    "phone": ("PHONE", find_phones),
    "credit_card": ("CREDIT_CARD", find_cards),
    "iban": ("IBAN", find_ibans),
    "ip": ("IP", find_ips),
    "keys": ("KEY", find_keys),
    "secrets": ("KEY", find_keys),
}
"""By the name in the configuration: what stands in place of a find, and who finds it."""
