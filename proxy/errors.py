"""The exception tree. The name says whose fault it is.

GlasslineError
├─ ClientError            the application sent something we cannot accept
│  └─ BadRequest          ambiguous or oversized HTTP; carries the status and the code of the answer
├─ UpstreamError          the provider, or the way to it, failed
│  └─ BadResponse         its answer breaks HTTP
└─ OurError               Glassline or its environment failed
├─ ConfigError         the configuration cannot be used; one line for each mistake
├─ EnvironmentUnusable directory, port or library in the way; one clear line, exit code 78
├─ JournalUnavailable  the record of a request cannot be kept
├─ LedgerUnavailable   budgets cannot be decided
└─ StoreError          a database is newer, damaged or locked
   ├─ StoreBusy        too many questions at once
   ├─ StoreDamaged     its file is in disorder: no later attempt will succeed
   └─ StoreReplaced    its file is not the one that was opened
"""

from __future__ import annotations


class GlasslineError(Exception):
    """Root of everything raised on purpose."""


class ClientError(GlasslineError):
    """The application sent something we cannot accept."""


class BadRequest(ClientError):
    """HTTP that is ambiguous or over a limit.

    `status` is the answer's status; `code` its `x-glassline-error`.
    """

    def __init__(self, message: str, *, status: int = 400, code: str = "bad_request") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class UpstreamError(GlasslineError):
    """The provider, or the way to it, failed."""


class BadResponse(UpstreamError):
    """The provider's answer breaks HTTP."""


class OurError(GlasslineError):
    """Glassline or its environment failed."""


class ConfigError(OurError):
    """The configuration cannot be used. `lines` holds one `path: reason` for each mistake."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class EnvironmentUnusable(OurError):
    """A directory, port or library is in the way."""


class JournalUnavailable(OurError):
    """The record of a request cannot be kept."""


class LedgerUnavailable(OurError):
    """Budgets cannot be decided."""


class StoreError(OurError):
    """A database is newer than this program, damaged or locked."""


class StoreBusy(StoreError):
    """More is asked of a database than it can answer at a time: asking again in a moment will do."""


class StoreDamaged(StoreError):
    """A database's file is in disorder: no later attempt will succeed."""


class StoreReplaced(StoreError):
    """A database's file is not the one that was opened: it must be opened anew."""
