"""AWS signatures (Signature Version 4) with the operator's credentials.

A caller's signature covers the host that it was made for, so it is worth nothing at another one: whoever presents a
virtual key instead has the request signed here. The signing itself, and finding credentials in all the places where
AWS keeps them, is botocore's: an optional extra, imported when the configuration has `aws`.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Final
from urllib.parse import quote, unquote_to_bytes

from proxy.config.schema import Aws
from proxy.errors import UpstreamError

SERVICE: Final = "bedrock"
_RENEW_S: Final = 60.0
"""Credentials that expire are asked for again so often; botocore renews them a quarter of an hour ahead."""
_SIGNED: Final = (b"x-amz-", b"x-amzn-", b"content-type")
"""Headers that a signature covers beside the host: AWS demands the first."""


class Signer:
    """Signs requests for one region."""

    def __init__(self, aws: Aws, region: str) -> None:
        self._region = region
        self._source = _find_credentials(aws)
        self._frozen: Any = None
        self._frozen_at = 0.0
        self._lock = threading.Lock()
        self._renew()

    def sign(self, head: bytes, origin: str, body: bytes) -> bytes:
        """Return the header lines that sign a request. Raises UpstreamError when there are no credentials.

        `head`: request line and headers, as they will be sent; `origin`: scheme and host of the upstream.
        """
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        method, target, headers = _split(head)
        request = AWSRequest(method=method, url=origin + _canonical(target), headers=headers, data=body)
        SigV4Auth(self._credentials(), SERVICE, self._region).add_auth(request)
        added = ((name, value) for name, value in request.headers.items() if name not in headers)
        return b"".join(f"{name}: {value}\r\n".encode() for name, value in added)

    def _credentials(self) -> Any:
        """Return credentials without waiting for anybody, unless there are none yet."""
        if self._frozen is None:
            self._renew()
        elif time.monotonic() - self._frozen_at > _RENEW_S and not self._lock.locked():
            # Renewing may ask the network: the requests to come must not wait for it.
            threading.Thread(target=self._renew, name="aws-credentials", daemon=True).start()
        if self._frozen is None:
            raise UpstreamError("no AWS credentials were found to sign with")
        return self._frozen

    def _renew(self) -> None:
        from botocore.exceptions import BotoCoreError

        with self._lock:
            self._frozen_at = time.monotonic()
            try:
                source = self._source()
                self._frozen = source.get_frozen_credentials() if source is not None else None
            except BotoCoreError:
                return  # What there is may still hold; if not, AWS says so.


def _find_credentials(aws: Aws) -> Any:
    """Return a function that finds the credentials: given ones, a profile's, or where botocore looks by itself."""
    from botocore.credentials import Credentials
    from botocore.session import Session

    if aws.access_key is not None and aws.secret_key is not None:
        token = aws.session_token.get_secret_value() if aws.session_token is not None else None
        given = Credentials(aws.access_key.get_secret_value(), aws.secret_key.get_secret_value(), token)
        return lambda: given
    session = Session(profile=aws.profile)
    return session.get_credentials


def _canonical(target: str) -> str:
    """Return `target` with its query encoded as AWS encodes what it received; botocore signs a query as it stands."""
    path, mark, query = target.partition("?")
    fields = (field.partition("=") for field in query.split("&") if field)
    return path + mark + "&".join(f"{_encoded(name)}={_encoded(value)}" for name, _, value in fields)


def _encoded(text: str) -> str:
    return quote(unquote_to_bytes(text), safe="-_.~")


def _split(head: bytes) -> tuple[str, str, dict[str, str]]:
    """Return method, target and the headers to be signed."""
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        if name.lower().encode("latin-1").startswith(_SIGNED):
            headers[name] = f"{headers[name]},{value.strip()}" if name in headers else value.strip()
    return method, target, headers
