"""Snippets: a recorded request as something to paste into a terminal, a program or a ticket.

They are exact: what runs sends what was recorded, or says that it cannot. curl and JavaScript send it byte for byte, an
SDK writes the same document in its own way; where one would change it (Google's rewrites numbers and names, and refuses
what it does not know), the bytes are sent without it. A credential is never in them, not
even masked: it comes from an environment variable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from proxy.admin.snippets.call import Call, SnippetError
from proxy.admin.snippets.curl import curl
from proxy.admin.snippets.javascript import javascript
from proxy.admin.snippets.markdown import markdown
from proxy.admin.snippets.python import python
from proxy.conversation import read_conversation, transcript_of
from proxy.records import Exchange
from proxy.store.query import RequestRow
from proxy.store.row import StoredBody

__all__ = ["FORMS", "LANGUAGES", "Call", "SnippetError", "snippet"]

LANGUAGES: Final[Mapping[str, Callable[[Call], str]]] = MappingProxyType(
    {"curl": curl, "python": python, "javascript": javascript}
)
FORMS: Final = (*LANGUAGES, "markdown")


def snippet(form: str, row: RequestRow, exchange: Exchange, request: StoredBody) -> str:
    """Return a request in one of `FORMS`. Raises SnippetError."""
    said = read_conversation(exchange)
    if form == "markdown":
        return markdown(row, said)
    if request.size and not request.is_whole:
        raise SnippetError("the request's body was not kept whole, so it cannot be sent again")
    call = Call(
        method=row.method,
        upstream=row.upstream,
        path=row.path,
        dialect=said.dialect,
        endpoint=said.endpoint,
        model=row.model_requested,
        headers=request.headers,
        body=transcript_of(exchange)[0].request,
    )
    return LANGUAGES[form](call)
