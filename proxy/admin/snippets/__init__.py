"""Snippets: a recorded request as something to paste into a terminal, a program or a ticket.

They are exact: what runs sends the bytes that were recorded, or says that it cannot. A credential is never in them, not
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

__all__ = ["LANGUAGES", "Call", "SnippetError", "markdown"]

LANGUAGES: Final[Mapping[str, Callable[[Call], str]]] = MappingProxyType(
    {"curl": curl, "python": python, "javascript": javascript}
)
"""By the name that `as=` takes; `markdown` and `json` are made of the answer as well."""
