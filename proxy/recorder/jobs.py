"""Jobs of the recorder: `reprice` and `reread`, a slice at a time between two batches.

A command leaves a file in `jobs/`; the recorder, the only writer of records.db, makes a row of it and removes the file.
From then on the row is the job. Invariant: a job that was accepted is carried out once, whoever dies in between.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from proxy.encryption import read_file
from proxy.errors import EnvironmentUnusable, StoreError
from proxy.recorder.revise import Reviser, unchanged
from proxy.store.jobs import Job, JobReader, JobWriter, Kind, Revision, Task

log = logging.getLogger(__name__)
LOOK_EVERY_S: Final = 0.5
SLICE: Final[dict[Kind, int]] = {"reprice": 100, "reread": 20}
"""Records revised at a time: about ten milliseconds."""
FOLDER: Final = "jobs"
"""Name of the folder, and what its files are encrypted for."""


class JobFile(msgspec.Struct, frozen=True):
    """What a command leaves for the recorder."""

    id: str
    task: Task


class Jobs:
    """Carries out what is asked for in a folder."""

    def __init__(
        self,
        folder: Path,
        store: JobWriter,
        reviser: Reviser,
        *,
        wall_ms: Callable[[], int],
        monotonic: Callable[[], float],
    ) -> None:
        self._folder = folder
        self._store = store
        self._reviser = reviser
        self._wall_ms = wall_ms
        self._monotonic = monotonic
        self._next_look = 0.0
        self._open: list[Job] | None = None

    @property
    def is_busy(self) -> bool:
        """Say whether there is more to do at once."""
        return bool(self._open)

    def step(self) -> bool:
        """Accept what is asked for, and carry out one slice; return whether the ledger has to hear of it.

        Raises StoreError: nothing is lost then.
        """
        if self._open is None:
            self._open = self._store.open_jobs()
        now = self._monotonic()
        if now >= self._next_look:
            self._next_look = now + LOOK_EVERY_S
            self._accept()
        return bool(self._open) and self._carry_on(self._open[0])

    def _accept(self) -> None:
        if not self._folder.is_dir():
            return
        for path in sorted(self._folder.glob("*.json")):
            try:
                asked = msgspec.json.decode(read_file(path, FOLDER), type=JobFile)
            except (msgspec.MsgspecError, OSError, EnvironmentUnusable) as error:
                log.warning("%s is no job: %s", path.name, error)
            else:
                self._store.add(self._store.start(asked.task, asked.id), self._wall_ms())
            path.unlink(missing_ok=True)
            self._open = self._store.open_jobs()

    def _carry_on(self, job: Job) -> bool:
        after, revisions = run_slice(job, self._store, self._reviser, self._wall_ms())
        others = [each for each in self._open or () if each.id != job.id]
        self._open = others if after.is_over else [after, *others]
        return any(revision.resolves for revision in revisions)


def run_slice(job: Job, store: JobWriter, reviser: Reviser, now_ms: int) -> tuple[Job, list[Revision]]:
    """Revise the next records of a job; return where it stands, and what became of them."""
    part = store.take(job, SLICE[job.task.kind])
    revisions = [revised(job.task.kind, row, store, reviser) for row in part.rows]
    after = store.move_on(job, part.done_seq, revisions, now_ms)
    reviser.written()
    return after, revisions


def revised(kind: Kind, row: dict[str, Any], store: JobReader, reviser: Reviser) -> Revision:
    """Return what becomes of one record; whatever it holds, it is one record and no reason to stop."""
    try:
        return reviser.revise(kind, row, store)
    except StoreError:
        raise
    except Exception:
        # The border at which one bad record must not take the others along.
        log.exception("record %s cannot be revised", row["id"])
        return unchanged(row, is_skipped=True)
