"""Multipart forms as the SDKs send them: fields first, or, as curl does, in the order given."""

from __future__ import annotations

from typing import Any

from proxy.records import Exchange
from tests.wire.exchanges import make_exchange

BOUNDARY = "630d2c30c025392941a2f9d0013bdef2"
FORM_TYPE = f"multipart/form-data; boundary={BOUNDARY}".encode()


def form(*parts: tuple[str, str | bytes]) -> bytes:
    """Write a form; bytes stand for a file, text for a field."""
    body = b""
    for name, value in parts:
        body += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'.encode()
        if isinstance(value, bytes):
            body += b'; filename="a.wav"\r\nContent-Type: audio/x-wav\r\n\r\n' + value + b"\r\n"
        else:
            body += b"\r\n\r\n" + value.encode() + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


def form_exchange(path: str, request: bytes, response: bytes | dict[str, Any], **more: Any) -> Exchange:
    """Build the exchange of a form."""
    return make_exchange(request, response, path=path, request_type=FORM_TYPE, **more)
