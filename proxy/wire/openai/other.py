"""Operations of the OpenAI API of which only errors are understood: models, files and many more."""

from __future__ import annotations

from typing import Final

from proxy.wire.draft import Draft
from proxy.wire.openai.error import read_failure
from proxy.wire.reader import Reader
from proxy.wire.transcript import Transcript


def read(transcript: Transcript, draft: Draft) -> None:
    """Read the error, if there is one."""
    if not transcript.is_success:
        read_failure(transcript, draft)


READER: Final = Reader("openai_other/1", read)
