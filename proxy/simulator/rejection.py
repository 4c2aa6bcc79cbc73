"""A request that is answered with an error; each dialect spells it in its own envelope."""

from __future__ import annotations

from proxy.errors import ClientError


class RejectionError(ClientError):
    """The provider refuses."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "",
        param: str | None = None,
        code: str | None = None,
        body: bytes | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        """The dialect's word for the sort of error; '': its usual one for the status."""
        self.param = param
        """The parameter at fault."""
        self.code = code
        """The machine-readable cause."""
        self.body = body
        """Bytes to answer with, where another server's envelope is played. None: the dialect spells it."""
