"""HTTP/1.1 message framing, both sides, as functions over bytes: no socket, no clock.

One set of rules for both ports. httptools (llhttp) reads the heads; the rules here decide what we accept of what it
read. They reject, they never repair: a message that two parsers could frame differently is refused before anything is
routed. The table in `docs/http.md` lists each case; RFC 9112 §6 and §11 are the reasons.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import httptools

from proxy.errors import BadRequest, BadResponse

HeaderList = list[tuple[bytes, bytes]]

PRIVATE_PREFIX: Final = b"x-glassline-"
"""Headers of our own: read from requests and not forwarded, added to responses and not relayed."""
HOP_BY_HOP: Final = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
_PLAIN: Final = bytes(byte for byte in range(256) if byte >= 0x20 and byte != 0x7F) + b"\t\r\n"
"""Every byte that may stand in a head."""
_TARGET: Final = re.compile(rb"/[\x21\x22\x24-\x7e]*")
_NUMBER: Final = re.compile(rb"[0-9]{1,18}")
_CHUNK_HEAD: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[^\r\n]{0,240})?\r\n")
_OWN_CHUNK_HEAD: Final = re.compile(rb"([1-9a-f][0-9a-f]{0,14})\r\n")
"""As `encode_chunks` writes it."""
_HOST: Final = re.compile(rb"(?:[A-Za-z0-9_](?:[A-Za-z0-9._~-]*)|\[[0-9A-Fa-f:.]+\])?(?::[0-9]{0,5})?")
_NOT_NORMAL: Final = re.compile(rb"//|/\.\.?(?:/|$)|\\|;|%(?:2[eEfF]|5[cC]|0|1|7[fF]|25)|%(?![0-9A-Fa-f]{2})")
_AROUND_URL: Final = 64
"""Bytes of a request line beside its target: no method that exists is longer."""
_METHODS_REFUSED: Final = frozenset((b"CONNECT", b"TRACE"))
MAX_RESPONSE_LINES: Final = 100
"""Header lines of an upstream's answer; no provider sends half of that."""
MAX_CHUNK_LINE: Final = 256
"""Bytes of a chunk-size line with its extensions, or of a trailer; llhttp allows more, nobody sends any."""


class _Silent:
    """Stands where an httptools parser expects callbacks: it validates, we split."""

    __slots__ = ()


_SILENT: Final = _Silent()


def _is_ambiguous(head: bytes) -> bool:
    """Find bare LF or CR, obs-fold and control characters: each has been read in two ways by two servers."""
    lines = head.count(b"\r\n")
    return (
        head.count(b"\n") != lines
        or head.count(b"\r") != lines
        or b"\n " in head
        or b"\n\t" in head
        or bool(head.translate(None, _PLAIN))
    )


def _split(head: bytes) -> tuple[bytes, HeaderList]:
    """Return the first line and the headers of a head that llhttp has accepted."""
    lines = head[:-4].split(b"\r\n")
    headers = []
    for line in lines[1:]:
        name, _, value = line.partition(b":")
        headers.append((name, value.strip(b" \t")))
    return lines[0], headers


class RequestHead:
    """A request head that passed every rule."""

    __slots__ = (
        "content_length",
        "expects_continue",
        "headers",
        "is_chunked",
        "is_http_1_0",
        "keep_alive",
        "lowered",
        "method",
        "named_in_connection",
        "target",
    )

    def __init__(self, method: bytes, target: bytes, headers: HeaderList) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        """Name and value as sent, in order."""
        self.lowered: dict[bytes, bytes] = {}
        """First value by lower-case name."""
        self.content_length: int | None = None
        """None: no Content-Length."""
        self.is_chunked = False
        self.is_http_1_0 = False
        self.keep_alive = True
        self.expects_continue = False
        self.named_in_connection: frozenset[bytes] = frozenset()


def find_head_end(buffer: bytes, *, max_head: int, max_url: int) -> int | None:
    """Return where the head at the front of `buffer` ends; None: it is not complete.

    `max_head`: of all header lines. Raises BadRequest for what can no longer become a head that is accepted.
    """
    end = buffer.find(b"\r\n\r\n")
    line_end = buffer.find(b"\n")
    if (line_end if line_end >= 0 else len(buffer)) > max_url + _AROUND_URL:
        raise BadRequest("the URL is too long", status=414, code="too_large")
    if (end if end >= 0 else len(buffer)) > max_head + max_url:
        raise BadRequest("the request head is too large", status=431, code="too_large")
    if line_end >= 0 and b" HTTP/" not in buffer[:line_end]:
        raise BadRequest("the request line names no version of HTTP")
    if end >= 0:
        return end + 4
    if b"\n\n" in buffer or (line_end >= 0 and buffer[line_end - 1 : line_end] != b"\r"):
        raise BadRequest("lines of the request head must end with CRLF")
    return None


def read_request_head(head: bytes, *, max_lines: int = 100, max_url: int = 8192) -> RequestHead:
    """Parse and judge `head`, which ends with the empty line. Raises BadRequest."""
    if _is_ambiguous(head):
        raise BadRequest("the request head contains a bare CR or LF, a folded line or a control character")
    parser = httptools.HttpRequestParser(_SILENT)
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        raise _why_unreadable(head, max_url, error) from error
    method = parser.get_method()
    version = parser.get_http_version()
    if version == "0.9":
        raise BadRequest("the request line names no version of HTTP")
    if version not in ("1.1", "1.0"):
        raise BadRequest("only HTTP/1.1 and HTTP/1.0 are spoken here", status=505)
    if method in _METHODS_REFUSED:
        raise BadRequest("this method is not allowed", status=405)
    line, headers = _split(head)
    target = line[len(method) + 1 : -9]
    if len(target) > max_url:
        raise BadRequest("the URL is too long", status=414, code="too_large")
    if len(headers) > max_lines:
        raise BadRequest("too many header lines", status=431, code="too_large")
    if not _TARGET.fullmatch(target):
        raise BadRequest("the request target must be a path")
    request = RequestHead(method, target, headers)
    request.is_http_1_0 = version == "1.0"
    _judge_headers(request)
    return request


def is_normal_path(path: bytes) -> bool:
    """Say whether every server reads `path` alike: no empty or dot segments, nothing encoded that could be one."""
    return _NOT_NORMAL.search(path) is None


def _why_unreadable(head: bytes, max_url: int, error: httptools.HttpParserError) -> BadRequest:
    line = head.partition(b"\r\n")[0]
    if len(line) > max_url:
        return BadRequest("the URL is too long", status=414, code="too_large")
    if line.startswith(b"CONNECT "):
        return BadRequest("this method is not allowed", status=405)
    return BadRequest(f"the request head cannot be read: {type(error).__name__}")


def _judge_headers(request: RequestHead) -> None:
    lowered = request.lowered
    hosts = 0
    for name, value in request.headers:
        key = name.lower()
        if key == b"host":
            hosts += 1
        elif key in lowered:
            if key in (b"content-length", b"transfer-encoding"):
                raise BadRequest(f"two {key.decode()} headers")
            if key == b"authorization":
                raise BadRequest("two authorization headers", status=401, code="invalid_key")
            if key == b"connection":
                value = lowered[key] + b"," + value
                lowered[key] = value
            continue
        lowered[key] = value
    if hosts != 1 and not (hosts == 0 and request.is_http_1_0):
        raise BadRequest("exactly one Host header is needed")
    if not _HOST.fullmatch(lowered.get(b"host", b"")):
        raise BadRequest("the Host header is not a host")
    _judge_framing(request)
    connection = lowered.get(b"connection")
    request.keep_alive = not request.is_http_1_0
    if connection is not None:
        tokens = connection.lower().replace(b" ", b"").replace(b"\t", b"").split(b",")
        if b"close" in tokens or (b"upgrade" in tokens and lowered.get(b"upgrade", b"").lower() == b"websocket"):
            # Whoever asked for a WebSocket may send frames behind its request, whatever the answer.
            request.keep_alive = False
        elif b"keep-alive" in tokens:
            request.keep_alive = True
        request.named_in_connection = frozenset(tokens)
    expect = lowered.get(b"expect")
    if expect is not None:
        if expect.lower() != b"100-continue":
            raise BadRequest("this expectation cannot be met", status=417)
        request.expects_continue = not request.is_http_1_0


def _judge_framing(request: RequestHead) -> None:
    length = request.lowered.get(b"content-length")
    coding = request.lowered.get(b"transfer-encoding")
    if coding is not None:
        if length is not None:
            raise BadRequest("Content-Length and Transfer-Encoding together")
        if coding.lower() != b"chunked":
            raise BadRequest("this transfer coding is not known here", status=501)
        if request.is_http_1_0:
            raise BadRequest("Transfer-Encoding in HTTP/1.0")
        request.is_chunked = True
    elif length is not None:
        if not _NUMBER.fullmatch(length):
            raise BadRequest("Content-Length is not a number")
        request.content_length = int(length)


_PERSISTENCE: Final = frozenset((b"close", b"keep-alive", b""))
DROPPED_RESPONSE: Final = HOP_BY_HOP | {b"content-length", b"alt-svc", b"strict-transport-security"}
"""alt-svc and HSTS speak of the provider's host, not of ours."""


ADDRESSES: Final = frozenset((b"location", b"x-goog-upload-url", b"x-goog-upload-control-url"))
"""Headers that hold an address to which some SDK goes on."""
_NOTED: Final = ADDRESSES | {b"content-type", b"content-encoding", b"set-cookie"}
"""Headers that are relayed and matter to us as well."""
_MATTERS: Final = DROPPED_RESPONSE | _NOTED
_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A token (RFC 9110 §5.6.2)."""
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: .*)?")


class ResponseHead:
    """A response head that passed every rule."""

    __slots__ = (
        "content_length",
        "content_type",
        "has_addresses",
        "is_chunked",
        "is_encoded",
        "keep_alive",
        "kept",
        "lines",
        "sets_cookies",
        "status",
        "status_line",
    )

    def __init__(self, status: int, status_line: bytes, lines: bytes) -> None:
        self.status = status
        self.status_line = status_line
        """Everything behind the version: `200 OK`."""
        self.lines = lines
        """The header lines as they came, each after a CRLF."""
        self.kept = lines
        """The same less those that belong to the hop."""
        self.content_length: int | None = None
        self.is_chunked = False
        self.keep_alive = True
        self.content_type = b""
        """Lower case, with parameters."""
        self.sets_cookies = False
        self.is_encoded = False
        """The body is compressed."""
        self.has_addresses = False

    @property
    def is_event_stream(self) -> bool:
        """Say whether the body is a stream of server-sent events."""
        return self.content_type.startswith(b"text/event-stream")


def read_response_head(head: bytes) -> ResponseHead:
    """Parse and judge `head`, which ends with the empty line. Raises BadResponse.

    Written by hand: a parser made for each response costs more than everything that is done with it.
    """
    lines = head[:-4].split(b"\r\n")
    ends = len(lines) + 1
    if head.count(b"\n") != ends or head.count(b"\r") != ends or head.translate(None, _PLAIN):
        raise BadResponse("its head contains a bare CR or LF, or a control character")
    if ends > MAX_RESPONSE_LINES + 2:
        raise BadResponse("it sent too many header lines")
    first = lines.pop(0)
    status, is_http_1_1 = _read_status(first)
    response = ResponseHead(status, first[9:], head[len(first) : -4])
    response.keep_alive = is_http_1_1
    _judge_response(response, lines)
    return response


@lru_cache(maxsize=256)
def _read_status(line: bytes) -> tuple[int, bool]:
    """Return the status, and whether the version is HTTP/1.1. Raises BadResponse."""
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise BadResponse("its status line cannot be used")
    return int(match[2]), match[1] == b"1"


@lru_cache(maxsize=256)
def _read_line(line: bytes) -> tuple[bytes, bytes] | None:
    """Return name, in lower case, and value of a header that matters to us; None: it does not. Raises BadResponse.

    A provider sends nearly the same lines with every answer, so most of them have been read before.
    """
    name, colon, value = line.partition(b":")
    if not colon or _NAME.fullmatch(name) is None:
        raise BadResponse("its head cannot be read: a line has no name")
    key = name.lower()
    return (key, value.strip(b" \t")) if key in _MATTERS or key.startswith(PRIVATE_PREFIX) else None


def _judge_response(response: ResponseHead, lines: list[bytes]) -> None:
    dropped: list[bytes] = []
    connection = b""
    for line in lines:
        found = _read_line(line)
        if found is None:
            continue
        key, value = found
        if key in _NOTED:
            _note_line(response, key, value.lower())
            continue
        dropped.append(line)
        if key == b"connection":
            connection += b"," + value.lower()
        else:
            _judge_line(response, key, value)
    if response.is_chunked and response.content_length is not None:
        raise BadResponse("it names a length and sends chunks")
    if dropped:
        response.kept = b"\r\n".join([b"", *[line for line in lines if line not in dropped]])
    if connection:
        tokens = frozenset(connection.translate(None, b" \t").split(b","))
        response.keep_alive = b"close" not in tokens and (response.keep_alive or b"keep-alive" in tokens)
        if named := tokens - _PERSISTENCE:
            response.kept = _without_named(response.kept, named)


def _without_named(lines: bytes, named: frozenset[bytes]) -> bytes:
    """Drop the headers that `Connection` names: they were meant for one hop."""
    return b"".join(b"\r\n" + line for line in lines.split(b"\r\n")[1:] if line.partition(b":")[0].lower() not in named)


def _note_line(response: ResponseHead, key: bytes, value: bytes) -> None:
    if key == b"content-type":
        response.content_type = value
    elif key == b"set-cookie":
        response.sets_cookies = True
    elif key == b"content-encoding":
        response.is_encoded = value not in (b"", b"identity")
    else:
        response.has_addresses = True


def _judge_line(response: ResponseHead, key: bytes, value: bytes) -> None:
    if key == b"content-length":
        if not _NUMBER.fullmatch(value) or response.content_length is not None:
            raise BadResponse("its Content-Length is not one number")
        response.content_length = int(value)
    elif key == b"transfer-encoding":
        if response.is_chunked or value.lower() != b"chunked":
            raise BadResponse("its transfer coding is not known here")
        response.is_chunked = True


def has_no_body(method: bytes, status: int) -> bool:
    """Say whether a response to `method` with `status` ends with its head (RFC 9112 §6.3)."""
    return method == b"HEAD" or status in (204, 304) or status < 200


class ChunkDecoder:
    """Undo the chunked transfer coding, strictly.

    `feed` returns the body pieces in `data`; `is_done` says that the last chunk and its trailers were read, `leftover`
    holds bytes beyond. Raises ValueError at anything that is not RFC 9112 §7.1 (extensions and trailers are dropped).
    """

    __slots__ = ("_expect_crlf", "_line", "_remaining", "_trailer_bytes", "_trailers", "is_done", "leftover", "wire")

    def __init__(self) -> None:
        self.is_done = False
        self.leftover = b""
        self.wire: bytes | None = None
        """What `encode_chunks` would make of the last pieces, where that is what came; None: it may not be."""
        self._line = b""
        self._remaining = 0
        self._expect_crlf = False
        self._trailers = False
        self._trailer_bytes = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Return the body pieces that `data` completes or continues."""
        self.wire = None
        if not (self._remaining or self._line or self._expect_crlf or self._trailers):
            # A read is mostly one whole chunk, spelled as we would spell it.
            match = _OWN_CHUNK_HEAD.match(data)
            if match is not None and match.end() + int(match[1], 16) == len(data) - 2 and data.endswith(b"\r\n"):
                self.wire = data
                return [data[match.end() : -2]]
        pieces: list[bytes] = []
        position, end = 0, len(data)
        while position < end:
            if self._remaining:
                stop = min(end, position + self._remaining)
                pieces.append(data[position:stop] if position or stop < end else data)
                self._remaining -= stop - position
                position = stop
                self._expect_crlf = not self._remaining
                continue
            if not (self._line or self._expect_crlf or self._trailers):
                position = _whole_chunks(data, position, pieces)
                if position == end:
                    break
            found = data.find(b"\n", position)
            if found < 0:
                self._line += data[position:]
                if len(self._line) > MAX_CHUNK_LINE + 1:  # the CR may be there already
                    raise ValueError("a chunk line is too long")
                break
            line = self._line + data[position : found + 1] if self._line else data[position : found + 1]
            self._line = b""
            position = found + 1
            self._read_line(line)
            if self.is_done:
                self.leftover = data[position:]
                break
        return pieces

    def _read_line(self, line: bytes) -> None:
        if not line.endswith(b"\r\n") or len(line) > MAX_CHUNK_LINE + 2:
            raise ValueError("a chunk line does not end with CRLF")
        if self._expect_crlf:
            if line != b"\r\n":
                raise ValueError("a chunk is longer than its size")
            self._expect_crlf = False
            return
        if self._trailers:
            self._trailer_bytes += len(line)
            if self._trailer_bytes > 8192 or b"\r" in line[:-2]:
                raise ValueError("the trailers cannot be read")
            self.is_done = line == b"\r\n"
            return
        match = _CHUNK_HEAD.fullmatch(line)
        if match is None:
            raise ValueError("a chunk size is not hexadecimal")
        self._remaining = int(match[1], 16)
        self._trailers = not self._remaining


def _whole_chunks(data: bytes, position: int, pieces: list[bytes]) -> int:
    """Add the bodies of the chunks that stand in `data` whole, from `position` on; return where the rest begins."""
    while (match := _CHUNK_HEAD.match(data, position)) is not None:
        start = match.end()
        stop = start + int(match[1], 16)
        if stop == start or data[stop : stop + 2] != b"\r\n":
            break  # The last one, an unfinished one or a broken one: for the slower reader to tell.
        pieces.append(data[start:stop])
        position = stop + 2
    return position


def encode_chunks(pieces: list[bytes]) -> bytes:
    """Apply the chunked transfer coding, a chunk a piece; empty pieces are left out, since they would end the body."""
    return b"".join([b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece])


LAST_CHUNK: Final = b"0\r\n\r\n"
