"""Requests that two servers could read differently, or that no server should read to their end.

Each says what it is answered with on either port. The table holds what is known to have confused servers; its rows
are those of `docs/http.md` and more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_HOST: Final = b"Host: localhost\r\n"


@dataclass(frozen=True)
class Payload:
    """What is sent on one connection."""

    request: bytes
    data: frozenset[int]
    """Statuses with which the data port may answer."""
    admin: frozenset[int]
    """Statuses with which the admin port may answer."""


def refused(request: bytes, *statuses: int, admin: int = 0) -> Payload:
    """Return a payload that both ports refuse; with 400, where nothing else is said."""
    allowed = frozenset(statuses or (400,))
    return Payload(request, allowed, frozenset((admin,)) if admin else allowed)


def post(*lines: bytes, body: bytes = b"", version: bytes = b"1.1") -> bytes:
    """Return a POST with these header lines."""
    return b"POST /v1/x HTTP/%b\r\n%b%b\r\n%b" % (version, _HOST, b"".join(line + b"\r\n" for line in lines), body)


def get(*lines: bytes, target: bytes = b"/v1/x", version: bytes = b"HTTP/1.1") -> bytes:
    """Return a GET with these header lines."""
    return b"GET %b %b\r\n%b%b\r\n" % (target, version, _HOST, b"".join(line + b"\r\n" for line in lines))


def chunked(body: bytes) -> bytes:
    """Return a POST whose chunked body is `body`."""
    return post(b"Transfer-Encoding: chunked", body=body)


_SMUGGLED: Final = b"GET /v1/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"

FRAMING: Final = {
    "length and chunks": refused(post(b"Content-Length: 3", b"Transfer-Encoding: chunked", body=b"abc")),
    "chunks and length, and a second request": refused(
        post(b"Transfer-Encoding: chunked", b"Content-Length: 4", body=b"0\r\n\r\n" + _SMUGGLED)
    ),
    "two equal lengths": refused(post(b"Content-Length: 2", b"Content-Length: 2", body=b"ab")),
    "a list of lengths": refused(post(b"Content-Length: 2, 2", body=b"ab")),
    "two different lengths": refused(post(b"Content-Length: 2", b"Content-Length: 3", body=b"abc")),
    "a length with a plus": refused(post(b"Content-Length: +2", body=b"ab")),
    "a negative length": refused(post(b"Content-Length: -1")),
    "an empty length": refused(post(b"Content-Length: ")),
    "a length in two words": refused(post(b"Content-Length: 2 3", body=b"abc")),
    "a hexadecimal length": refused(post(b"Content-Length: 0x2", body=b"ab")),
    "a length beyond 64 bits": refused(post(b"Content-Length: 99999999999999999999")),
    "a blank before the colon": refused(post(b"Content-Length : 2", body=b"ab")),
    "a tab before the colon": refused(post(b"Content-Length\t: 2", body=b"ab")),
    "gzip, chunked": refused(post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), 400, 501),
    "chunked twice": refused(post(b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"), 400, 501),
    "two codings": refused(post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n")),
    "another coding": refused(post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"), 400, 501),
    "identity": refused(post(b"Transfer-Encoding: identity"), 400, 501),
    "a coding with a parameter": refused(post(b"Transfer-Encoding: chunked;q=1", body=b"0\r\n\r\n"), 400, 501),
    "a coding with a vertical tab": refused(post(b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n")),
    "a blank before the colon of the coding": refused(post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n")),
    "chunks in HTTP/1.0": refused(post(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n", version=b"1.0")),
}
CHUNKS: Final = {
    "a chunk beyond 64 bits": refused(chunked(b"FFFFFFFFFFFFFFFFF\r\n")),
    "a chunk size with 0x": refused(chunked(b"0x2\r\nab\r\n0\r\n\r\n")),
    "a negative chunk size": refused(chunked(b"-1\r\n\r\n")),
    "a chunk size with a plus": refused(chunked(b"+2\r\nab\r\n0\r\n\r\n")),
    "a chunk size with an underscore": refused(chunked(b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n")),
    "no chunk size": refused(chunked(b"\r\nab\r\n")),
    "a blank behind the chunk size": refused(chunked(b"2 \r\nab\r\n0\r\n\r\n")),
    "a chunk longer than its size": refused(chunked(b"3\r\nabcd\r\n0\r\n\r\n")),
    "a chunk that ends with anything": refused(chunked(b"3\r\nabcXX0\r\n\r\n")),
    "a chunk that ends with LF": refused(chunked(b"3\r\nabc\n0\r\n\r\n")),
    "a chunk size that ends with LF": refused(chunked(b"3\nabc\r\n0\r\n\r\n")),
    "an extension with LF": refused(chunked(b"3;a\nabc\r\n0\r\n\r\n")),
    "an extension with CR": refused(chunked(b"3;a\rb\r\nabc\r\n0\r\n\r\n")),
    "an endless extension": refused(chunked(b"3;" + b"a" * 5000)),
    "endless trailers": refused(chunked(b"0\r\n" + b"X: 1\r\n" * 5000)),
    "a trailer with CR": refused(chunked(b"0\r\nX: a\rb\r\n\r\n")),
}
LINES: Final = {
    "a folded line": refused(get(b"X: b", b" c")),
    "a line folded with a tab": refused(get(b"X: b", b"\tc")),
    "a fold in front of the first header": refused(b"GET /v1/x HTTP/1.1\r\n Host: localhost\r\n\r\n"),
    "bare LF": refused(b"GET /v1/x HTTP/1.1\nHost: localhost\n\n"),
    "one bare LF": refused(b"GET /v1/x HTTP/1.1\r\nHost: localhost\nX: 1\r\n\r\n"),
    "bare CR in a value": refused(get(b"X: a\rb")),
    "NUL in a value": refused(get(b"X: a\0b")),
    "NUL in a name": refused(get(b"X\0: a")),
    "a control character": refused(get(b"X: a\x01b")),
    "a header without a colon": refused(get(b"Nonsense")),
    "a header without a name": refused(get(b": x")),
    "a blank in a name": refused(get(b"X Y: 1")),
}
HOSTS: Final = {
    "no host": refused(b"GET /v1/x HTTP/1.1\r\nX: 1\r\n\r\n"),
    "two hosts": refused(b"GET /v1/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    "the same host twice": refused(get(b"Host: localhost")),
    "a host with a path": refused(b"GET /v1/x HTTP/1.1\r\nHost: localhost/v1/models?\r\n\r\n"),
    "a host with a user": refused(b"GET /v1/x HTTP/1.1\r\nHost: localhost@evil.example\r\n\r\n"),
    "a list of hosts": refused(b"GET /v1/x HTTP/1.1\r\nHost: localhost, evil.example\r\n\r\n"),
    "a host of two words": refused(b"GET /v1/x HTTP/1.1\r\nHost: localhost evil\r\n\r\n"),
    "a host with a fragment": refused(b"GET /v1/x HTTP/1.1\r\nHost: localhost#x\r\n\r\n"),
    "a port that is none": refused(b"GET /v1/x HTTP/1.1\r\nHost: localhost:80x\r\n\r\n"),
    "a host with two ports": refused(b"GET /v1/x HTTP/1.1\r\nHost: localhost:80:81\r\n\r\n"),
}
FIRST_LINES: Final = {
    "HTTP/0.9": refused(b"GET /v1/x\r\n\r\n"),
    "HTTP/1.9": refused(get(version=b"HTTP/1.9"), 400, 505),
    "HTTP/2.0": refused(get(version=b"HTTP/2.0"), 400, 505),
    "the preface of HTTP/2": refused(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, 505),
    "a version with a tail": refused(get(version=b"HTTP/1.1x")),
    "a version in lower case": refused(get(version=b"http/1.1")),
    "two blanks": refused(b"GET  /v1/x HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    "a method in lower case": refused(b"get /v1/x HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    "a method that nobody knows": refused(b"FETCHALL /v1/x HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    "the absolute form": refused(get(target=b"http://evil.example/v1/x")),
    "the absolute form, with our host": refused(get(target=b"http://localhost/v1/x")),
    "the asterisk form": refused(b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    "CONNECT": refused(b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n", 405),
    "TRACE": refused(b"TRACE /v1/x HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
    "TLS in clear text": refused(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\n" * 20),
    "another expectation": refused(post(b"Content-Length: 1", b"Expect: tea", body=b"x"), 417),
    "two authorizations": refused(get(b"Authorization: Bearer a", b"authorization: Bearer b"), 401),
    "a WebSocket without a key": refused(get(b"Connection: Upgrade", b"Upgrade: websocket"), 400, admin=501),
}
PATHS: Final = {
    f"the path {target.decode('latin-1')}": refused(get(target=target))
    for target in (
        b"/v1/../admin",
        b"/v1/./x",
        b"/v1/x/..",
        b"/..",
        b"/v1/%2e%2e/admin",
        b"/v1/.%2E/admin",
        b"/v1/..%2fadmin",
        b"/v1%2Fadmin",
        b"//v1/x",
        b"//evil.example/v1/x",
        b"/v1//x",
        b"/v1/x%00",
        b"/v1/x%0d%0aX:%201",
        b"/v1/x%7f",
        b"/v1\\..\\admin",
        b"/v1/%5c..",
        b"/v1;x=/admin",
        b"/v1/x;jsessionid=1",
        b"/v1/%252e%252e/admin",
        b"/v1/%zz",
        b"/v1/%",
        b"/v1/x#fragment",
        "/v1/\u00fc".encode(),
    )
}
SIZES: Final = {
    "a header of 128 KB": refused(get(b"X: " + b"a" * 131072), 431),
    "a header of 10 MB": refused(get(b"X: " + b"a" * 10_000_000), 431),
    "5,000 headers": refused(get(*[b"X: 1"] * 5000), 431),
    "101 headers": refused(get(*[b"X: 1"] * 100), 431),
    "33 KB of headers": refused(get(*[b"X: " + b"a" * 700] * 47), 431),
    "a URL of 100 KB": refused(get(target=b"/v1/" + b"a" * 102400), 414),
    "a URL of 9 KB": refused(get(target=b"/v1/" + b"a" * 9000), 414),
    "a body that says it has 200 MB": refused(post(b"Content-Length: 209715200", body=b"x" * 1000), 413),
}
PAYLOADS: Final = FRAMING | CHUNKS | LINES | HOSTS | FIRST_LINES | PATHS | SIZES
