"""Jobs: opinions about stored records formed anew, in slices, so that recording goes on beside them.

A job is a row, and how far it has come stands in it: the transaction that changes a slice of records moves the job on.
So a job that was killed goes on where it was, and no record is revised twice. A slice is bounded by the rows that are
looked at, not by those that match: what it costs does not depend on what was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Literal

import apsw
import msgspec

from proxy.store.bills import BillWriter
from proxy.store.faults import our_errors
from proxy.store.payloads import PAYLOAD_SQL, read_bodies
from proxy.store.rollups import Rollups
from proxy.store.row import StoredBody
from proxy.store.templates import COLUMNS, Templates
from proxy.store.text import Value, storable

Kind = Literal["reprice", "reread"]
_PAYLOAD: Final = PAYLOAD_SQL.format(choice="seq = ?")
WINDOW: Final = 2000
"""Rows looked at for one slice: some milliseconds when none of them matches."""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for."""

    kind: Kind
    """reprice: a new cost for the stored usage; reread: a new reading of the stored bodies, and its cost."""
    from_ms: int | None = None
    to_ms: int | None = None
    """Not included."""
    model: str | None = None
    """Glob over the names of models, letter case ignored."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A task and how far it has come."""

    id: str
    task: Task
    last_seq: int
    done_seq: int
    total: int
    """Rows it is about."""
    done: int
    finished_at: int | None = None
    error: str | None = None

    @property
    def is_over(self) -> bool:
        """Say whether it has come to an end."""
        return self.finished_at is not None


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one record."""

    seq: int
    day: str
    """UTC."""
    model: str
    before_nano_usd: int | None
    after_nano_usd: int | None
    was_unpriced: bool
    is_unpriced: bool
    is_changed: bool
    is_skipped: bool = False
    """Its bytes were not kept."""
    columns: dict[str, Value] = {}
    """New values; empty: everything stays."""
    biller: str = ""
    bills: tuple[str, ...] = ()
    """Ids of the biller that are paid with this record."""
    resolves: tuple[str, ...] = ()
    """Exchanges whose cost was awaited, and stands in this record."""
    exchange: str = ""
    started_at_ms: int = 0


class Difference(msgspec.Struct, kw_only=True):
    """What a job changed for one day and model."""

    day: str
    model: str
    requests: int = 0
    changed: int = 0
    before_nano_usd: int = 0
    """Sum of the costs that were known."""
    after_nano_usd: int = 0
    unpriced_before: int = 0
    unpriced_after: int = 0
    skipped: int = 0

    def add(self, revision: Revision) -> None:
        """Count one record."""
        self.requests += 1
        self.changed += revision.is_changed
        self.before_nano_usd += revision.before_nano_usd or 0
        self.after_nano_usd += revision.after_nano_usd or 0
        self.unpriced_before += revision.was_unpriced
        self.unpriced_after += revision.is_unpriced
        self.skipped += revision.is_skipped


class Slice(msgspec.Struct, frozen=True):
    """Some rows of a job."""

    rows: list[dict[str, Any]]
    done_seq: int
    """Everything up to here has been looked at."""


class JobReader:
    """What a connection, read-only or not, can say about jobs and their rows."""

    def __init__(self, connection: apsw.Connection, templates: Templates | None = None) -> None:
        self._connection = connection
        self._templates = Templates(connection) if templates is None else templates

    def start(self, task: Task, id_: str = "") -> Job:
        """Return a job for the rows that are there now; it is not stored."""
        where, values = _where(task)
        first, last, total = self._row(
            f"SELECT coalesce(min(seq), 1) - 1, coalesce(max(seq), 0), count(*) FROM exchanges WHERE {where}",  # noqa: S608 (constants)
            values,
        )
        return Job(id=id_, task=task, last_seq=last, done_seq=first, total=total, done=0)

    def take(self, job: Job, limit: int) -> Slice:
        """Return the next rows of a job."""
        where, values = _where(job.task)
        window_end = min(job.done_seq + WINDOW, job.last_seq)
        rows = self._rows(
            f"SELECT * FROM exchanges WHERE seq > ? AND seq <= ? AND {where} ORDER BY seq LIMIT ?",  # noqa: S608 (constants)
            (job.done_seq, window_end, *values, limit),
        )
        return Slice(rows, rows[-1]["seq"] if len(rows) == limit else window_end)

    def bodies(self, seq: int) -> tuple[StoredBody, StoredBody] | None:
        """Return both bodies of a record; None: they are gone."""
        with our_errors():
            return read_bodies(self._connection.execute(_PAYLOAD, (seq,)).fetchall())

    def row(self, seq: int) -> dict[str, Any] | None:
        """Return the row of a record; None: it is gone."""
        return next(iter(self._rows("SELECT * FROM exchanges WHERE seq = ?", (seq,))), None)

    def job(self, id_: str) -> Job | None:
        """Return a stored job."""
        return next(iter(self._jobs("WHERE id = ?", (id_,))), None)

    def open_jobs(self) -> list[Job]:
        """Return the jobs that have not come to their end, the oldest first."""
        return self._jobs("WHERE finished_at IS NULL ORDER BY created_at, id", ())

    def differences(self, id_: str) -> list[Difference]:
        """Return what a stored job has changed so far."""
        rows = self._dicts("SELECT * FROM job_changes WHERE job = ? ORDER BY day, model", (id_,))
        return [Difference(**{name: row[name] for name in Difference.__struct_fields__}) for row in rows]

    def last_sign_ms(self) -> float:
        """Return when the recorder last said that it lives, Unix ms; 0: never."""
        found = self._dicts("SELECT value FROM status WHERE name = 'updated_at_ms'", ())
        return float(found[0]["value"]) if found else 0.0

    def _jobs(self, clause: str, values: tuple[Value, ...]) -> list[Job]:
        rows = self._dicts(f"SELECT * FROM jobs {clause}", values)  # noqa: S608 (constants)
        return [
            Job(
                **{name: row[name] for name in Job.__struct_fields__ if name != "task"},
                task=msgspec.json.decode(row["task"], type=Task),
            )
            for row in rows
        ]

    def _row(self, sql: str, values: Sequence[Value]) -> tuple[Any, ...]:
        with our_errors():
            return next(iter(self._connection.execute(sql, tuple(values))))

    def _rows(self, sql: str, values: Sequence[Value]) -> list[dict[str, Any]]:
        """Return rows of `exchanges` as they were before they were packed."""
        rows = self._dicts(sql, values)
        with our_errors():
            return [row | {name: self._templates.unpack(row[name]) for name in COLUMNS} for row in rows]

    def _dicts(self, sql: str, values: Sequence[Value]) -> list[dict[str, Any]]:
        with our_errors():
            cursor = self._connection.execute(sql, tuple(values))
            try:
                names = [column[0] for column in cursor.description]
            except apsw.ExecutionCompleteError:  # there is no row
                return []
            return [dict(zip(names, row, strict=True)) for row in cursor]


class JobWriter(JobReader):
    """Jobs, and the records that they revise."""

    def __init__(
        self,
        connection: apsw.Connection,
        transaction: Callable[[], AbstractContextManager[None]],
        templates: Templates,
    ) -> None:
        super().__init__(connection, templates)
        self._transaction = transaction
        self._rollups = Rollups(connection)

    def add(self, job: Job, created_at_ms: int) -> None:
        """Store a new job; one that is there already stays as it is."""
        with self._transaction():
            self._connection.execute(
                "INSERT INTO jobs (id, task, created_at, last_seq, done_seq, total, done) VALUES (?, ?, ?, ?, ?, ?, 0)"
                " ON CONFLICT (id) DO NOTHING",
                (
                    job.id,
                    msgspec.json.encode(job.task).decode(),
                    created_at_ms,
                    job.last_seq,
                    job.done_seq,
                    job.total,
                ),
            )

    def move_on(self, job: Job, done_seq: int, revisions: Sequence[Revision], now_ms: int) -> Job:
        """Carry out revisions and note how far the job has come, in one transaction; return where it stands."""
        is_over = done_seq >= job.last_seq
        after = msgspec.structs.replace(
            job,
            done_seq=done_seq,
            done=job.done + len(revisions),
            finished_at=now_ms if is_over else None,
        )
        with self._transaction():
            with self._rollups.following(*_touched(revisions)):
                for revision in revisions:
                    self._revise(revision)
            self._count(job.id, revisions)
            self._connection.execute(
                "UPDATE jobs SET done_seq = ?, done = ?, finished_at = ? WHERE id = ?",
                (after.done_seq, after.done, after.finished_at, job.id),
            )
        return after

    def give_up(self, id_: str, error: str, now_ms: int) -> None:
        """End a job early."""
        with self._transaction():
            self._connection.execute(
                "UPDATE jobs SET finished_at = ?, error = ? WHERE id = ? AND finished_at IS NULL", (now_ms, error, id_)
            )

    def _revise(self, revision: Revision) -> None:
        if revision.columns:
            settings = ", ".join(f"{name} = ?" for name in revision.columns)
            values = [
                self._templates.pack(storable(value)) if name in COLUMNS else storable(value)
                for name, value in revision.columns.items()
            ]
            self._connection.execute(
                f"UPDATE exchanges SET {settings} WHERE seq = ?",  # noqa: S608 (column names are ours)
                (*values, revision.seq),
            )
        bills = BillWriter(self._connection)
        bills.pay((revision.biller, id_, revision.exchange, revision.started_at_ms) for id_ in revision.bills)
        bills.resolve(revision.resolves, revision.exchange, revision.after_nano_usd)

    def _count(self, id_: str, revisions: Sequence[Revision]) -> None:
        names = Difference.__struct_fields__[2:]
        sums = ", ".join(f"{name} = {name} + excluded.{name}" for name in names)
        self._connection.executemany(
            f"INSERT INTO job_changes (job, day, model, {', '.join(names)}) VALUES (?, ?, ?{', ?' * len(names)})"  # noqa: S608 (constants)
            f" ON CONFLICT (job, day, model) DO UPDATE SET {sums}",
            [
                (id_, each.day, each.model, *(getattr(each, name) for name in names))
                for each in Summary(revisions).differences
            ],
        )


class Summary:
    """Revisions summed up by day and model."""

    def __init__(self, revisions: Iterable[Revision] = ()) -> None:
        self._found: dict[tuple[str, str], Difference] = {}
        self.add(revisions)

    def add(self, revisions: Iterable[Revision]) -> None:
        """Count revisions."""
        for revision in revisions:
            day, model = revision.day, revision.model
            self._found.setdefault((day, model), Difference(day=day, model=model)).add(revision)

    @property
    def differences(self) -> list[Difference]:
        """Return the sums, by day and model."""
        return [self._found[place] for place in sorted(self._found)]


def _touched(revisions: Sequence[Revision]) -> tuple[str, tuple[str, str]]:
    """Return what rows are changed by revisions, as SQL and its values."""
    seqs = [revision.seq for revision in revisions if revision.columns]
    ids = [id_ for revision in revisions for id_ in revision.resolves]
    return (
        "seq IN (SELECT value FROM json_each(?)) OR id IN (SELECT value FROM json_each(?))",
        (msgspec.json.encode(seqs).decode(), msgspec.json.encode(ids).decode()),
    )


def _where(task: Task) -> tuple[str, list[Value]]:
    conditions, values = [_ABOUT[task.kind]], list[Value]()
    if task.from_ms is not None:
        conditions.append("started_at >= ?")
        values.append(task.from_ms)
    if task.to_ms is not None:
        conditions.append("started_at < ?")
        values.append(task.to_ms)
    if task.model is not None:
        conditions.append("lower(coalesce(model, model_requested, '')) GLOB lower(?)")
        values.append(task.model)
    return " AND ".join(conditions), values


_ABOUT: Final[Mapping[Kind, str]] = {
    # Without a usage there may be a flat fee, and what is free costs nothing whatever it was.
    "reprice": "(usage_buckets IS NOT NULL OR is_unpriced OR cost_source = 'override')",
    "reread": "dispatched_us IS NOT NULL",
}
