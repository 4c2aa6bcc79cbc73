"""Routes that say whom they serve: a route without a least role cannot be made.

The role is checked here, before the endpoint and in no other place; what no route declares is not served.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from proxy.admin.answers import Endpoint, border, error_answer
from proxy.admin.identity import Identity, Least, TokenRole


class DeclaredRoute(Route):
    """A route with the least role that it serves."""

    def __init__(
        self,
        path: str,
        endpoint: Endpoint,
        *,
        least: Least,
        also: TokenRole | None = None,
        method: str = "GET",
        is_form: bool = False,
    ) -> None:
        """`also`: a role beside the ladder; `is_form`: a change comes from a form of our own pages instead of as JSON."""
        super().__init__(path, border(endpoint), methods=[method])
        self.least = least
        self.also = also
        self.is_form = is_form

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, if it is from somebody who may."""
        who = scope.get("identity")
        if self.least == "public" or (isinstance(who, Identity) and (who.may(self.least) or who.role == self.also)):
            await super().handle(scope, receive, send)
            return
        if isinstance(who, Identity):
            answer = error_answer(403, "forbidden", f"this needs the role {self.least}, and {who.name} has {who.role}")
        else:
            answer = error_answer(401, "unauthorized", "a user's password or a token is required")
        await answer(scope, receive, send)


def asker(request: Request) -> Identity:
    """Return whom a request is from; on a public route nobody knows, so do not ask there."""
    who = request.scope["identity"]
    if not isinstance(who, Identity):
        raise TypeError("a route that nobody is asked at wants to know who asks")
    return who
