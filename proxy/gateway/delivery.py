"""A response on its way to the client: its head, its body framed anew, and its end.

A response ends as the upstream ended it. Where the upstream named a length or sent chunks, so do we; where its close
was the end, so is ours, since a last chunk of our own would vouch for an end that nobody has seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.framing import LAST_CHUNK, RequestHead, ResponseHead, encode_chunks, has_no_body
from proxy.gateway.heads import own_response, response_head

if TYPE_CHECKING:
    from proxy.gateway.client import ClientConnection
    from proxy.gateway.include_usage import Stripper
    from proxy.gateway.rewrite import ResultsRewriter


class Delivery:
    """What one client gets."""

    __slots__ = (
        "_client",
        "_has_length",
        "_is_chunked",
        "_keep_alive",
        "_pending_head",
        "_request",
        "editor",
        "has_begun",
        "is_gone",
    )

    def __init__(self, client: ClientConnection, request: RequestHead) -> None:
        self._client = client
        self._request = request  # shared with other exchanges of this caller
        self._keep_alive = request.keep_alive
        self._pending_head: bytes | None = None
        """Head that waits for the first bytes of its body."""
        self._is_chunked = False
        self._has_length = False
        self.editor: Stripper | ResultsRewriter | None = None
        """Changes the bytes of the body on their way; None: they pass as they are."""
        self.has_begun = False
        """Bytes have gone to the client, so that no other answer can be given."""
        self.is_gone = False
        """The client is not there any more."""

    @property
    def is_empty(self) -> bool:
        """Say whether no head has gone to the client or is about to."""
        return self._pending_head is None and not self.has_begun

    def begin(self, head: ResponseHead, own: bytes, *, is_last: bool) -> None:
        """Make the head of the upstream's response ready; `own` are header lines of ours.

        `is_last`: no other request follows on this connection.
        """
        request = self._request
        has_body = not has_no_body(request.method, head.status)
        keeps_length = self.editor is None
        self._has_length = not has_body or (head.content_length is not None and keeps_length)
        ends_by_close = has_body and not head.is_chunked and head.content_length is None
        if ends_by_close or is_last:
            self._keep_alive = False
        self._pending_head, self._is_chunked = response_head(
            head,
            has_body=has_body,
            is_http_1_0=request.is_http_1_0 or ends_by_close,  # neither may have chunks
            keeps_length=keeps_length,
            own=own,
            connection=self._connection_line(),
        )

    def _connection_line(self) -> bytes:
        if not self._keep_alive:
            return b"connection: close\r\n"
        return b"connection: keep-alive\r\n" if self._request.is_http_1_0 else b""

    def withdraw(self) -> None:
        """Forget a head that nobody has seen."""
        self._pending_head = None

    def write(self, pieces: list[bytes], wire: bytes | None = None) -> None:
        """Send pieces of the body, behind the head if that still waits. `wire`: how `encode_chunks` would write them."""
        if self.editor is not None and pieces:
            pieces = [self.editor.feed(b"".join(pieces))]
            wire = None
        self._send(wire if wire is not None and self._is_chunked else self._framed(pieces))

    def flush_head(self) -> None:
        """Send a head whose body has not begun."""
        if self._pending_head is not None:
            self._send(b"")

    def _framed(self, pieces: list[bytes]) -> bytes:
        if self._is_chunked:
            return encode_chunks(pieces)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _send(self, data: bytes) -> None:
        if self._pending_head is not None:
            data, self._pending_head = self._pending_head + data, None
            self.has_begun = True
        if data and not self.is_gone:
            self._client.write(data)

    # --- ends --------------------------------------------------------------------------------------------------

    def last(self, pieces: list[bytes]) -> bytes:
        """Return the last bytes of a response, with what ends it."""
        if self.editor is not None:
            pieces = [self.editor.feed(b"".join(pieces)) + self.editor.close()]
        data = self._framed(pieces)
        return data + LAST_CHUNK if self._is_chunked else data

    def finish(self, last: bytes) -> None:
        """Send the last bytes and hand the connection over to the next request."""
        if not self.is_gone:
            self._send(last)
            self._client.exchange_over(keep_alive=self._keep_alive and (self._is_chunked or self._has_length))

    def finish_with(self, event: bytes | None) -> None:
        """End with an event of ours in place of the regular end; where none can stand, break off."""
        if self.is_gone:
            return
        if event is None or self._has_length:
            self.break_off()
            return
        self._send(self._framed([event]) + (LAST_CHUNK if self._is_chunked else b""))
        self._client.exchange_over(keep_alive=False)

    def break_off(self, *, is_stalled: bool = False) -> None:
        """End the connection so that the client knows that the response is not whole.

        `is_stalled`: it takes nothing, so that what was sent cannot be waited for.
        """
        if not self.is_gone:
            is_framed = (self._is_chunked or self._has_length or self.is_empty) and not self._pending_head
            self._client.break_off(is_framed=is_framed and not is_stalled)

    def flush_editor(self) -> None:
        """Send what the editor holds back: nothing follows that could change it."""
        if self.editor is not None:
            self._send(self._framed([self.editor.close()]))

    def answer(self, status: int, headers: bytes, body: bytes, *, is_last: bool) -> None:
        """Send a whole response made here, in place of any other."""
        self._pending_head = None
        if self.is_gone:
            return
        keep_alive = self._request.keep_alive and not self._client.request_is_open and not is_last
        connection = b"" if keep_alive else b"connection: close\r\n"
        shown = b"" if self._request.method == b"HEAD" else body
        self._client.write(own_response(status, headers, shown, connection))
        self._client.exchange_over(keep_alive=keep_alive)
