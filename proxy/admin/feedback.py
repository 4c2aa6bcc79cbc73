"""Feedback: what applications and people say of answers, on its way into a journal of this process.

It is on the disk before the answer says so. The recorder folds it like all that is in journals, and joins it to its
request, whichever of the two comes first; so nothing is looked up here.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.requests import Request
from starlette.responses import Response

from proxy.admin.answers import json_answer, read_model
from proxy.admin.declared import DeclaredRoute, asker
from proxy.admin.identity import Identity
from proxy.clock import Clock
from proxy.disk import is_nearly_full
from proxy.errors import JournalUnavailable
from proxy.journal import JournalWriter
from proxy.records import Feedback

_SEGMENT_BYTES: Final = 256 * 1024
"""A segment is deleted when its writer has begun another one: a month of feedback must not wait for that."""
_GIGABYTE: Final = 1024**3


class FeedbackRequest(BaseModel):
    """What somebody says of the answer to a request."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    request: UUID
    """The id that `x-glassline-request-id` told."""
    value: Annotated[float, Field(ge=0, le=1)] | None
    """`true` or 1: good; `false` or 0: bad; or in between. null: what was said before is taken back."""
    comment: Annotated[str, StringConstraints(strip_whitespace=True, max_length=2000)] = ""
    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")] = "user"
    """What is judged: one value of each name is kept of each sender."""


class FeedbackJournal:
    """The journal of this process, made when there is something to write."""

    def __init__(self, data_dir: Path, most_gb: float) -> None:
        """`most_gb`: nothing is added to journals that are larger together."""
        self._directory = data_dir / "journal"
        self._most_bytes = int(most_gb * _GIGABYTE)
        self._writer: JournalWriter | None = None
        self._alone = asyncio.Lock()

    async def keep(self, said: Feedback) -> None:
        """Return when it is on the disk. Raises OurError: it may be lost."""
        async with self._alone:
            await asyncio.to_thread(self._keep, said)

    def close(self) -> None:
        """End in good order."""
        if self._writer is not None:
            self._writer.close()

    def _keep(self, said: Feedback) -> None:
        if self._writer is None:
            self._writer = JournalWriter(self._directory, "admin", segment_bytes=_SEGMENT_BYTES)
        self._require_room(self._writer)
        self._writer.feedback(said)
        try:
            self._writer.prepare_sync()()
        except OSError as error:
            self._writer.distrust()
            raise JournalUnavailable(f"journal: {error.strerror}") from error

    def _require_room(self, writer: JournalWriter) -> None:
        """Raise JournalUnavailable where a gateway would not begin a request either."""
        seen = writer.look_around()
        if seen.size_bytes > self._most_bytes:
            writer.rotate()
            raise JournalUnavailable("the journal has grown to `record.journal_max_gb`: the recorder is behind")
        if seen.unsafe:
            raise JournalUnavailable("the disk failed to sync a journal, which is not written anew yet")
        if is_nearly_full(self._directory):
            raise JournalUnavailable("the disk is nearly full")


class FeedbackDesk:
    """The endpoint."""

    def __init__(self, journal: FeedbackJournal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock

    def routes(self) -> list[DeclaredRoute]:
        """Return the route."""
        return [DeclaredRoute("/api/feedback", self.give, least="editor", also="feedback", method="POST")]

    async def give(self, request: Request) -> Response:
        """Keep what somebody says of an answer."""
        wanted, who = await read_model(FeedbackRequest, request), asker(request)
        said = Feedback(
            request=str(wanted.request),
            name=wanted.name,
            source=who.actor,
            at_ms=self._clock.wall_ms(),
            value=wanted.value,
            comment=wanted.comment or None,
        )
        await self._journal.keep(said)
        return json_answer(feedback_shape(said, who), status=201)


def feedback_shape(said: Feedback, who: Identity) -> dict[str, Any]:
    """Return feedback as it is shown to somebody; `is_own`: they said it."""
    return {
        "request": said.request,
        "name": said.name,
        "value": said.value,
        "comment": said.comment,
        "source": said.source,
        "at": said.at_ms,
        "is_own": said.source == who.actor,
    }
