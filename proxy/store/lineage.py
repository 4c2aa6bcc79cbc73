"""Lineage: requests that continue an earlier one are put into its session, where no header names one.

What a request continues is found by its marks (`marks`) among those of the last day. The first request of a conversation
is in no session until a second one continues it: a question that nobody asks further about stays alone, however often it
is asked. An inferred session is called `auto:` and the id of its first request, so that its name says nothing of what was said.

Invariants: a session is inferred within one caller, that is key and user; of a text that is not kept there is no mark;
marks go with the bodies that they were made of.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Final, cast

import apsw
import msgspec

from proxy.store.marks import Marks, marks_of
from proxy.store.pieces import Part
from proxy.store.record import KeptBody, Record

INFERRED: Final = "auto:"
"""What the name of an inferred session begins with."""
LONGEST_PAUSE_MS: Final = 86_400_000
"""Between the beginnings of two turns."""
MOST_SEQS: Final = 100_000
"""Requests that are looked back over: their marks take 3 MB of memory."""
_FORGOTTEN: Final = 5000
"""Marks at a time: some ten milliseconds."""
_TWINS: Final = 8
"""Requests with the same mark that are looked at, at least: the same was asked and the same answered. Those that nobody
continued yet come first, or two conversations that began alike would become one."""
_INDEX: Final = """
CREATE TEMP TABLE marked (
    mark INTEGER NOT NULL, is_placed INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (mark, is_placed, seq DESC)
) WITHOUT ROWID;
CREATE TEMP TRIGGER mark_added AFTER INSERT ON main.marks BEGIN
    INSERT INTO marked SELECT NEW.mark, session IS NOT NULL, NEW.seq FROM exchanges WHERE seq = NEW.seq;
END;
CREATE TEMP TRIGGER mark_deleted AFTER DELETE ON main.marks BEGIN
    DELETE FROM marked WHERE mark = OLD.mark AND is_placed IN (0, 1) AND seq = OLD.seq;
END;
CREATE TEMP TRIGGER mark_placed AFTER UPDATE OF session ON main.exchanges
WHEN (OLD.session IS NULL) != (NEW.session IS NULL) BEGIN
    UPDATE marked SET is_placed = NEW.session IS NOT NULL
    WHERE mark IN (SELECT mark FROM marks WHERE seq = NEW.seq) AND is_placed IN (0, 1) AND seq = NEW.seq;
END;
INSERT INTO marked SELECT mark, session IS NOT NULL, seq FROM marks JOIN exchanges USING (seq);
"""
"""An index of `marks`, in memory: on the disk each new mark would want a page of its own in every transaction."""
_FIND: Final = (
    "SELECT mark, seq, id, started_at, session, retry_of FROM marked CROSS JOIN exchanges USING (seq)"
    " WHERE mark = ? ORDER BY is_placed, seq DESC LIMIT ?"
)
_TOO_OLD: Final = """
SELECT max(coalesce(max(seq) - ?, 0), coalesce((
    SELECT seq FROM exchanges WHERE started_at < (SELECT started_at FROM exchanges ORDER BY seq DESC LIMIT 1) - ?
    ORDER BY started_at DESC LIMIT 1
), 0)) FROM exchanges
"""
"""By the newest row, not the latest time: a clock that was wrong once must not make everything else old."""
_FORGET: Final = (
    "DELETE FROM marks WHERE seq <= min(?1, coalesce((SELECT seq FROM marks ORDER BY seq LIMIT 1 OFFSET ?2), ?1))"
)


class _Left(msgspec.Struct):
    """A request that may be continued."""

    seq: int
    id: str
    at_ms: int
    session: str | None
    retry_of: str | None


class Lineage:
    """The lineage of the one writer's records; its caller holds the transaction."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        key = bytes(cast("bytes", connection.execute("SELECT key FROM piece_key").get))

        @lru_cache(maxsize=1024)
        def secret(*caller: str | None) -> bytes:
            # As Python writes it, for then it has no text that cannot be encoded.
            return hashlib.blake2b(repr(caller).encode(), key=key, person=b"marks", digest_size=32).digest()

        self._caller: Callable[..., bytes] = secret
        connection.execute(_INDEX)

    def add(self, stored: Sequence[tuple[int, Record]], said: Iterable[Sequence[Part]]) -> list[int]:
        """Find the sessions of records that are new and name none; `said`: the conversation in each request.

        Return the rows that were put into a session, of whatever age.
        """
        found = [(*each, self._marks(each[1], spoken)) for each, spoken in zip(stored, said, strict=True)]
        family = _Family(self._connection)
        nearest = [None if marks is None else next(marks.before, None) for _, _, marks in found]
        family.look_up(Counter(mark for mark in nearest if mark is not None))
        for (seq, record, marks), mark in zip(found, nearest, strict=True):
            if marks is not None:
                _place(family, seq, record, marks, mark)
        return family.store()

    def forget(self) -> None:
        """Forget some marks that are too old to be found."""
        last = self._connection.execute(_TOO_OLD, (MOST_SEQS, LONGEST_PAUSE_MS)).get
        self._connection.execute(_FORGET, (cast("int", last), _FORGOTTEN))

    def _marks(self, record: Record, said: Sequence[Part]) -> Marks | None:
        """Return the marks of a record that names no session."""
        begin, reading, request = record.exchange.begin, record.reading, record.request
        if begin.session is not None or request.head is None or not _is_whole(request):
            return None
        user = begin.user if begin.user is not None else reading.user
        return marks_of(request.head, said, reading, self._caller(begin.key, user))


def _place(family: _Family, seq: int, record: Record, marks: Marks, nearest: int | None) -> None:
    """Put a record into the session of what it continues, if that is known, and leave its marks."""
    begin = record.exchange.begin
    session = None
    if nearest is not None:
        for mark in chain((nearest,), marks.before):
            session = family.join(seq, mark, begin.started_at_ms)
            if session is not None:
                break
    if record.response.head is not None:
        family.leave(marks.after, _Left(seq, begin.id, begin.started_at_ms, session, begin.retry_of))


class _Family:
    """What a batch continues, and what may be continued in it; written at its end."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._found: dict[int, list[_Left]] = {}
        """By mark: those in no session, then the others, the newest of each first."""
        self._new: dict[int, list[_Left]] = {}
        """Those of the batch, the newest first."""
        self._by_seq: dict[int, _Left] = {}
        self._marks: list[tuple[int, int]] = []
        self._placed: list[tuple[str, int]] = []

    def look_up(self, marks: Mapping[int, int]) -> None:
        """Ask in one go for those who left some marks, each for so many that may continue one."""
        wanted = [(mark, max(_TWINS, count)) for mark, count in marks.items() if mark not in self._found]
        if not wanted:
            return
        self._found |= {mark: [] for mark, _ in wanted}
        for mark, *row in self._connection.executemany(_FIND, wanted):
            left = _Left(*cast("tuple[int, str, int, str | None, str | None]", tuple(row)))
            # One request may have left several marks.
            self._found[int(str(mark))].append(self._by_seq.setdefault(left.seq, left))

    def join(self, seq: int, mark: int, at_ms: int) -> str | None:
        """Put a row into the session of one that left this mark; return which, None: nobody did, or too long ago."""
        self.look_up({mark: 1})
        known: list[_Left] = [*self._new.get(mark, ()), *self._found[mark]]
        near = [each for each in known if abs(at_ms - each.at_ms) <= LONGEST_PAUSE_MS]
        if not near:
            return None
        # Where the same was said more than once, each of them is continued by another request.
        earlier = next((each for each in near if each.session is None), near[0])
        session = INFERRED + earlier.id if earlier.session is None else earlier.session
        if earlier.session is None:
            earlier.session = session
            self._placed += [(session, each) for each in self._attempts(earlier)]
        self._placed.append((session, seq))
        return session

    def leave(self, marks: Sequence[int], left: _Left) -> None:
        """Let a request of the batch be continued."""
        for mark in marks:
            self._new.setdefault(mark, []).insert(0, left)
            self._marks.append((left.seq, mark))

    def store(self) -> list[int]:
        """Write it all; return the rows that were put into a session."""
        self._connection.executemany("INSERT OR IGNORE INTO marks (seq, mark) VALUES (?, ?)", self._marks)
        self._connection.executemany("UPDATE exchanges SET session = ? WHERE seq = ?", self._placed)
        return [seq for _, seq in self._placed]

    def _attempts(self, first: _Left) -> list[int]:
        """Return a request and all attempts at it that are in no session."""
        if first.retry_of is None:
            return [first.seq]
        others = self._connection.execute(
            "SELECT seq FROM exchanges WHERE (id = ?1 OR retry_of = ?1) AND session IS NULL AND seq != ?2",
            (first.retry_of, first.seq),
        )
        return [first.seq, *(int(str(seq)) for (seq,) in others)]


def _is_whole(body: KeptBody) -> bool:
    """Say whether all of a request is there, or what redaction left of it."""
    is_cut = body.edit == "redacted_cut" or (not body.edit and body.head is not None and len(body.head) < body.size)
    return bool(body.head) and not is_cut
