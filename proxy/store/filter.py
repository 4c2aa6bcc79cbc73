"""The filter grammar of lists: `key:search status:>=400 latency:>2s "late delivery"`, compiled to SQL with bound values.

terms     all must hold; `a OR b` either; `( … )` groups; a `-` in front negates
          field:value · field:(a OR b) · has:field · meta.tag:value · words and "phrases" are looked for in the texts
text      exact, or a glob with `*`; "…" may hold spaces; `field:` with nothing after it finds what has none
number    `400`, `>=400`, `<0.5`, `100..200` (both included), `4k`, `1.5M`; `4xx` for a class of statuses
money     a number, in dollars, with or without `$`
duration  a number with ms, s, m or h; seconds without
flag      true or false

A filter says three things in SQL: which rows are meant; which zones can hold such rows, or such as are not meant, so
that a negation can be asked as well; and, when an index leads straight to a few rows, the condition that uses it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from typing import Final, Literal, NamedTuple, NoReturn

from proxy.errors import ClientError
from proxy.store.rollups import Dimension
from proxy.store.search import SearchError, search_clause
from proxy.store.zones import MANY, MEASURES, RANKED, facet, is_hashed

Bound = str | int | float


class FilterError(ClientError):
    """A filter that cannot be understood; the message says why and what would be valid."""

    def __init__(self, message: str, position: int = 0) -> None:
        super().__init__(f"{message} (at character {position + 1})")
        self.position = position
        """Of the first character that is at fault, from 0."""


class Clause(NamedTuple):
    """A condition in SQL and its bound values."""

    sql: str = "1"
    parameters: tuple[Bound, ...] = ()


_ANY: Final = Clause()
FACET_IS: Final = "f.name = ? AND f.value IN (?, ?)"
"""One value, found by the primary key."""
FACETS_OF_ZONE: Final = "facets f INDEXED BY facets_by_zone WHERE f.zone = z.zone"
"""All other conditions over facets are looked up by the zone: SQLite would read a name's facets of all zones."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition over the columns of `exchanges`."""

    sql: str = "1"
    parameters: tuple[Bound, ...] = ()
    zones: Clause = _ANY
    """Over `zones z`: holds for every known zone with a row that is meant."""
    others: Clause = _ANY
    """The same for rows that are not meant."""
    anchor: Clause | None = None
    """Over `exchanges`: holds for every row that is meant, and is answered from an index. None: nothing leads there."""
    rest: Clause | None = None
    """What a row must fulfil beside the anchor. None: all that is said above."""
    facets: tuple[Clause, ...] = ()
    """Over `facets f`: each row that is meant has one of the facets of each, and these know the largest of their rows."""
    summed: tuple[Dimension, str] | None = None
    """The dimension of the roll-ups, and the value in it, under which exactly the rows that are meant are summed."""


_WORD: Final = re.compile(r"[^\s()\"]+")
_FIELD: Final = re.compile(r"(?P<field>[A-Za-z_][\w.-]*):")
_QUOTED: Final = re.compile(r'"(?P<text>[^"]*)"')
_COMPARISON: Final = re.compile(r"(?P<operator>>=|<=|>|<|=)?(?P<number>.+)")
_NUMBER: Final = re.compile(r"(?P<number>-?(?:\d{1,18}(?:\.\d{0,12})?|\.\d{1,12}))(?P<unit>[kKM])?")
_DURATION: Final = re.compile(r"(?P<number>\d{1,12}(?:\.\d{0,6})?|\.\d{1,6})(?P<unit>ms|s|m|h)?")
_UNITS: Final = {None: 1, "k": 1000, "K": 1000, "M": 1_000_000}
_US: Final = {"ms": 1000, "s": 1_000_000, None: 1_000_000, "m": 60_000_000, "h": 3_600_000_000}
_NANO: Final = 10**9
_SUMMED: Final[dict[str, Dimension]] = {
    "key": "key",
    "upstream": "upstream",
    "provider": "provider",
    "endpoint": "endpoint",
    "environment": "environment",
    "prompt": "prompt",
}
"""Facets whose values the roll-ups sum in the same way; a model is summed by one of its two names, and found by both."""
_LARGEST: Final = 2**63 - 1
_MAX_TERMS: Final = 32
"""More than a person types; SQLite's own limit on the depth of an expression is far above."""
_MAX_DEPTH: Final = 8
_MAX_CHARACTERS: Final = 4096


def parse_filter(text: str, *, is_all: bool = False) -> Filter:
    """Compile a filter. `is_all`: words find all rows, not the newest ones, as a sum needs it. Raises FilterError."""
    if len(text) > _MAX_CHARACTERS:
        raise FilterError(f"at most {_MAX_CHARACTERS} characters", _MAX_CHARACTERS)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise FilterError("this is no character", error.start) from None
    return _Parser(text, is_all=is_all).filter()


def started(*, from_ms: int | None = None, to_ms: int | None = None) -> Filter:
    """Return the condition that a request started in [from, to)."""
    conditions = []
    if from_ms is not None:
        conditions.append(Filter("started_at >= ?", (from_ms,), Clause("z.started_max >= ?", (from_ms,))))
    if to_ms is not None:
        conditions.append(Filter("started_at < ?", (to_ms,), Clause("z.started_min < ?", (to_ms,))))
    return both(*conditions)


def both(*filters: Filter) -> Filter:
    """Return the condition that all of the filters hold."""
    if len(filters) == 1:
        return filters[0]
    anchored = [each for each in filters if each.anchor is not None]
    rests = [_rest(each) if each.anchor is not None else Clause(each.sql, each.parameters) for each in filters]
    return Filter(
        *_all([Clause(each.sql, each.parameters) for each in filters]),
        zones=_all([each.zones for each in filters]),
        others=_any([each.others for each in filters]),
        anchor=_all([each.anchor for each in anchored if each.anchor is not None]) if anchored else None,
        rest=_all(rests) if anchored else None,
        facets=tuple(clause for each in filters for clause in each.facets),
    )


def either(*filters: Filter) -> Filter:
    """Return the condition that one of the filters holds."""
    anchors = [each.anchor for each in filters if each.anchor is not None]
    is_anchored = len(anchors) == len(filters)
    return Filter(
        *_any([Clause(each.sql, each.parameters) for each in filters]),
        zones=_any([each.zones for each in filters]),
        others=_all([each.others for each in filters]),
        anchor=_any(anchors) if is_anchored else None,
        rest=_ANY if is_anchored and all(_rest(each) == _ANY for each in filters) else None,
        facets=(_any([each.facets[0] for each in filters]),) if all(each.facets for each in filters) else (),
    )


def _rest(condition: Filter) -> Clause:
    return Clause(condition.sql, condition.parameters) if condition.rest is None else condition.rest


def negated(condition: Filter) -> Filter:
    """Return the condition that the filter does not hold.

    What has no value at all is not equal either: `-user:ann` finds requests without a user.
    """
    sql = f"NOT coalesce({condition.sql}, 0)"
    return Filter(sql, condition.parameters, zones=condition.others, others=condition.zones)


def _all(clauses: Sequence[Clause]) -> Clause:
    return _joined(" AND ", [clause for clause in clauses if clause != _ANY])


def _any(clauses: Sequence[Clause]) -> Clause:
    return _ANY if _ANY in clauses else _joined(" OR ", clauses)


def _joined(word: str, clauses: Sequence[Clause]) -> Clause:
    if len(clauses) < 2:
        return clauses[0] if clauses else _ANY
    parameters = tuple(value for clause in clauses for value in clause.parameters)
    return Clause(word.join(f"({clause.sql})" for clause in clauses), parameters)


class _Parser:
    """Reads a filter from left to right."""

    def __init__(self, text: str, *, is_all: bool) -> None:
        self._text = text
        self._is_all = is_all
        self._at = 0
        self._terms = 0
        self._words = 0
        self._depth = 0

    def filter(self) -> Filter:
        found = self._either()
        if self._at < len(self._text):
            self._fail("a `)` without its `(`")
        return found

    def _either(self) -> Filter:
        found = [self._both()]
        while self._takes("OR"):
            if len(found) == 1 and found[0] == Filter():
                self._fail("nothing stands before this OR", self._at - 2)
            found.append(self._both())
            if found[-1] == Filter():
                self._fail("something must stand after OR")
        return either(*found) if len(found) > 1 else found[0]

    def _both(self) -> Filter:
        found: list[Filter] = []
        words: list[str] = []
        first = 0
        while not self._is_over():
            start = self._at
            if self._takes("OR"):
                self._at = start
                break
            if self._takes("AND"):
                continue
            if word := self._word():
                first = first if words else start
                words.append(word)
                self._words += 1
            else:
                found.append(self._one())
        return both(*found, *([self._searched(words, first)] if words else []))

    def _one(self) -> Filter:
        if self._text[self._at] == "-":
            self._at += 1
            if self._at == len(self._text) or self._text[self._at].isspace() or self._text[self._at] in "-)":
                self._fail("a term must stand right after `-`")
            start, words = self._at, self._words
            found = self._one()
            if self._words > words:
                # Only the newest rows with a word are found, so that the others would be taken for rows without.
                self._fail("put the `-` in front of each word", start)
            return negated(found)
        if self._text[self._at] == "(":
            return self._group(self._either)
        field = _FIELD.match(self._text, self._at)
        if field is None:
            self._fail("a term must stand here")
        start, self._at = self._at, field.end()
        compile_value = _compiler(field["field"], start)
        if self._text.startswith("(", self._at):
            return self._group(lambda: self._values(compile_value))
        return self._value(compile_value)

    def _group(self, read: Callable[[], Filter]) -> Filter:
        start = self._at
        self._at += 1
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            self._fail(f"at most {_MAX_DEPTH} groups in one another", start)
        if self._is_over():
            self._fail("nothing stands in these parentheses", start)
        found = read()
        if self._is_over() and not self._text.startswith(")", self._at):
            self._fail("this `(` is not closed", start)
        self._at += 1
        self._depth -= 1
        return found

    def _values(self, compile_value: _ValueCompiler) -> Filter:
        found = [self._value(compile_value)]
        while not self._is_over():
            if not self._takes("OR"):
                self._fail("write OR between the values")
            if self._is_over():
                self._fail("a value must stand after OR")
            found.append(self._value(compile_value))
        return either(*found)

    def _value(self, compile_value: _ValueCompiler) -> Filter:
        self._count()
        start = self._at
        quoted = _QUOTED.match(self._text, start)
        if quoted is not None:
            self._at = quoted.end()
            self._require_end(start)
            return compile_value(quoted["text"], True, start)
        while self._at < len(self._text) and not self._text[self._at].isspace():
            if self._text[self._at] == ")" and self._depth:
                break
            if self._text[self._at] == '"' and self._at == start:
                self._fail("this quotation mark is not closed", start)
            self._at += 1
        return compile_value(self._text[start : self._at], False, start)

    def _word(self) -> str:
        """Take a word or a phrase that is to be looked for, with the `-` in front of it; empty: something else comes."""
        start = self._at
        at = start + (self._text[start] == "-")
        if _FIELD.match(self._text, at) or self._text.startswith(("(", " ", "-"), at):
            return ""
        match = _QUOTED.match(self._text, at) or _WORD.match(self._text, at)
        if match is None:
            self._fail(
                "this quotation mark is not closed" if self._text.startswith('"', at) else "a term must stand here"
            )
        self._count()
        self._at = match.end()
        self._require_end(start)
        return self._text[start : self._at]

    def _searched(self, words: Sequence[str], position: int) -> Filter:
        """Return the condition that the words stand in the texts, or do not where a `-` stands in front."""
        try:
            clause = Clause(*search_clause(" ".join(words), is_all=self._is_all))
        except SearchError as error:
            raise FilterError(str(error), position) from None
        return Filter(*clause, anchor=clause, rest=_ANY)

    def _count(self) -> None:
        self._terms += 1
        if self._terms > _MAX_TERMS:
            self._fail(f"at most {_MAX_TERMS} terms")

    def _require_end(self, start: int) -> None:
        following = self._text[self._at : self._at + 1]
        if following and not following.isspace() and not (following == ")" and self._depth):
            self._fail("a space must stand between two terms", start)

    def _takes(self, word: str) -> bool:
        """Take a connecting word if it stands here."""
        self._skip()
        end = self._at + len(word)
        if not self._text.startswith(word, self._at) or not (end == len(self._text) or self._text[end] in " \t\r\n()"):
            return False
        self._at = end
        return True

    def _is_over(self) -> bool:
        """Say whether the filter, or the group, ends here."""
        self._skip()
        return self._at == len(self._text) or self._text[self._at] == ")"

    def _skip(self) -> None:
        while self._at < len(self._text) and self._text[self._at].isspace():
            self._at += 1

    def _fail(self, message: str, position: int | None = None) -> NoReturn:
        raise FilterError(message, self._at if position is None else position)


_ValueCompiler = Callable[[str, bool, int], Filter]
"""From a value, whether it stood in quotation marks, and where, to a condition."""


def _compiler(name: str, position: int) -> _ValueCompiler:
    """Return what compiles the values of a field. Raises FilterError."""
    field = name.lower()
    if field == "has":
        return _has
    prefix, dot, tag = name.partition(".")
    if dot and prefix.lower() == "meta" and tag:
        return _Tag(tag).compiled
    if field not in _FIELDS:
        near = get_close_matches(field, _FIELDS, n=1)
        hint = f", perhaps `{near[0]}`" if near else ""
        raise FilterError(f"there is no field `{name}`{hint}; fields: {_names()}", position)
    return _FIELDS[field].reads.compiled


def _has(value: str, _is_quoted: bool, position: int) -> Filter:
    prefix, dot, tag = value.partition(".")
    if dot and prefix.lower() == "meta" and tag:
        return _Tag(tag).present()
    if value.lower() not in _FIELDS:
        raise FilterError(f"has:{value}: name a field: {_names()}", position)
    return _FIELDS[value.lower()].reads.present()


class _Text:
    """A column of text, with or without a facet of the same meaning."""

    def __init__(self, *columns: str, facet: str = "", is_indexed: bool = False, index_has_time: bool = False) -> None:
        self._columns = columns
        self._facet = facet
        self._is_indexed = is_indexed
        self._index_has_time = index_has_time

    def compiled(self, value: str, is_quoted: bool, position: int) -> Filter:
        """Return the condition that a value is the column's."""
        if value[:1] in ("<", ">") and not is_quoted:
            raise FilterError(
                f"{value}: a text cannot be compared; put it in quotation marks to mean the sign", position
            )
        if not value:
            return negated(self.present())
        if "*" in value:
            return self._like(value)
        anchor = (
            Clause(" AND ".join(f"{column} = ?" for column in self._columns), (value,)) if self._is_indexed else None
        )
        zones, others = _facet_clauses(self._facet, value)
        if self._index_has_time:
            (column,) = self._columns
            zones = Clause(
                f"EXISTS (SELECT 1 FROM exchanges x WHERE x.{column} = ?"  # noqa: S608 (constants)
                " AND x.started_at BETWEEN z.started_min AND z.started_max)",
                (value,),
            )
        facets = (Clause(FACET_IS, (self._facet, facet(self._facet, value), MANY)),)
        return Filter(
            *self._each("{} = ?", value),
            zones,
            others,
            anchor,
            rest=_ANY if anchor else None,
            facets=facets if self._facet in RANKED else (),
            summed=(_SUMMED[self._facet], value) if self._facet in _SUMMED else None,
        )

    def present(self) -> Filter:
        """Return the condition that there is a value."""
        zones, others = _facet_clauses(self._facet, "")
        return Filter(*self._each("{} != ''"), others, zones)

    def _like(self, value: str) -> Filter:
        pattern = value.replace("[", "[[]").replace("?", "[?]")
        rows = self._each("{} GLOB ?", pattern)
        start = value.partition("*")[0]
        if not self._facet or is_hashed(self._facet):
            return Filter(*rows)
        # U+10FFFF sorts after every character that a value can hold.
        values = (self._facet, pattern, start, start + "\U0010ffff", MANY)
        fits = Clause("f.name = ? AND (f.value GLOB ? AND f.value >= ? AND f.value < ? OR f.value = ?)", values)
        return Filter(*rows, _with_facet(fits), facets=(fits,) if self._facet in RANKED else ())

    def _each(self, condition: str, *values: str) -> Clause:
        return _joined(" OR ", [Clause(condition.format(column), values) for column in self._columns])


def _facet_clauses(name: str, value: str) -> tuple[Clause, Clause]:
    """Return which zones can hold rows with the value, and which rows with another."""
    if not name:
        return _ANY, _ANY
    hashed = facet(name, value)
    equal = "z.zone IN (SELECT zone FROM facets WHERE name = ? AND value IN (?, ?))"
    return Clause(equal, (name, hashed, MANY)), _with_facet(Clause("f.name = ? AND f.value != ?", (name, hashed)))


def _with_facet(fits: Clause) -> Clause:
    """Return which zones have a facet that fits: looked up in each zone, for most have one."""
    return Clause(f"EXISTS (SELECT 1 FROM {FACETS_OF_ZONE} AND {fits.sql})", fits.parameters)  # noqa: S608


class _Prompt:
    """A prompt's name, or `name@version`."""

    _name = _Text("prompt_name", facet="prompt")
    _version = _Text("prompt_name || '@' || prompt_version", facet="version")

    def compiled(self, value: str, is_quoted: bool, position: int) -> Filter:
        by_name = self._name.compiled(value, is_quoted, position)
        return either(by_name, self._version.compiled(value, is_quoted, position)) if "@" in value else by_name

    def present(self) -> Filter:
        return self._name.present()


class _Tag:
    """One of the tags that a request was given."""

    def __init__(self, name: str) -> None:
        self._name = name

    def compiled(self, value: str, _is_quoted: bool, _position: int) -> Filter:
        if not value:
            return negated(self.present())
        tag = f"meta.{self._name}"
        if "*" in value:
            pattern = value.replace("[", "[[]").replace("?", "[?]")
            return Filter(*self._where("value GLOB ?", pattern), self.present().zones)
        zones = Clause(
            "z.zone IN (SELECT zone FROM facets WHERE name = ? AND value IN (?, ?) OR name = 'meta')",
            (tag, facet(tag, value), MANY),
        )
        return Filter(*self._where("value = ?", value), zones)

    def present(self) -> Filter:
        zones = Clause("z.zone IN (SELECT zone FROM facets WHERE name IN (?, 'meta'))", (f"meta.{self._name}",))
        return Filter(*self._where("1"), zones)

    def _where(self, condition: str, *values: str) -> Clause:
        sql = f"tags != '{{}}' AND EXISTS (SELECT 1 FROM json_each(tags) WHERE key = ? AND {condition})"  # noqa: S608 (constants)
        return Clause(sql, (self._name, *values))


class _Number:
    """A column of numbers: counts, money or durations."""

    def __init__(self, column: str, kind: Literal["number", "money", "duration"], *, measure: str = "") -> None:
        self._column = column
        self.kind = kind
        self._measure = measure

    def compiled(self, value: str, _is_quoted: bool, position: int) -> Filter:
        if not value:
            return negated(self.present())
        low, dots, high = value.partition("..")
        if dots:
            read = [self._read(text, value, position) for text in (low, high)]
            return self._compared((">=", read[0]), ("<=", read[1]))
        match = _COMPARISON.fullmatch(value)
        operator, number = (match["operator"] or "=", match["number"]) if match else ("=", value)
        return self._compared((operator, self._read(number, value, position)))

    def present(self) -> Filter:
        return Filter(f"{self._column} IS NOT NULL", (), self._bounds("{max} IS NOT NULL"))

    def _compared(self, *wanted: tuple[str, int | float]) -> Filter:
        """Return the condition that all comparisons hold."""
        rows = _all([Clause(f"{self._column} {operator} ?", (number,)) for operator, number in wanted])
        return Filter(*rows, self._possible(wanted))

    def _possible(self, wanted: Sequence[tuple[str, int | float]]) -> Clause:
        bounds = {">": "{max} > ?", ">=": "{max} >= ?", "<": "{min} < ?", "<=": "{min} <= ?"}
        return _all(
            [
                self._bounds(bounds[operator], number)
                if operator != "="
                else self._bounds("{min} <= ? AND {max} >= ?", number, number)
                for operator, number in wanted
            ]
        )

    def _bounds(self, condition: str, *values: int | float) -> Clause:
        if not self._measure:
            return _ANY
        return Clause(condition.format(min=f"z.{self._measure}_min", max=f"z.{self._measure}_max"), values)

    def _read(self, text: str, value: str, position: int) -> int | float:
        if self.kind == "duration":
            match = _DURATION.fullmatch(text)
            if match is None:
                raise FilterError(f"{value}: not a duration: write 2s, >150ms or 1s..5m", position)
            return _bindable(Decimal(match["number"]) * _US[match["unit"]])
        match = _NUMBER.fullmatch(text.removeprefix("$") if self.kind == "money" else text)
        if match is None:
            example = "$0.01, >=0.5 or 0.1..$2" if self.kind == "money" else "400, >=4k or 100..200"
            raise FilterError(f"{value}: not a number: write {example}", position)
        number = Decimal(match["number"]) * _UNITS[match["unit"]]
        return _bindable(number * _NANO if self.kind == "money" else number)


def _bindable(number: Decimal) -> int | float:
    return int(number) if number == number.to_integral_value() and abs(number) <= _LARGEST else float(number)


class _Status(_Number):
    """The status of the answer; every one of them is a facet."""

    def __init__(self) -> None:
        super().__init__("status", "number")

    def compiled(self, value: str, is_quoted: bool, position: int) -> Filter:
        if re.fullmatch(r"[1-5]xx", value.lower()):
            floor = int(value[0]) * 100
            value = f"{floor}..{floor + 99}"
        return super().compiled(value, is_quoted, position)

    def present(self) -> Filter:
        zones, others = _facet_clauses("status", "")
        return Filter("status IS NOT NULL", (), others, zones)

    def _compared(self, *wanted: tuple[str, int | float]) -> Filter:
        found = super()._compared(*wanted)
        fits = " AND ".join(f"CAST(f.value AS INTEGER) {operator} ?" for operator, _ in wanted)
        facets = Clause(f"f.name = 'status' AND (f.value = ? OR {fits})", (MANY, *(number for _, number in wanted)))
        return Filter(found.sql, found.parameters, _with_facet(facets), facets=(facets,))


class _Flag:
    """Yes or no, of every request."""

    def __init__(self, name: str, condition: str) -> None:
        self._name = name
        self._condition = condition

    def compiled(self, value: str, _is_quoted: bool, position: int) -> Filter:
        is_wanted = _truth(self._name, value, position)
        zones, others = _facet_clauses(self._name, "1" if is_wanted else "0")
        return Filter(self._condition if is_wanted else f"NOT ({self._condition})", (), zones, others)

    def present(self) -> Filter:
        return self.compiled("true", False, 0)


def _truth(name: str, value: str, position: int) -> bool:
    known = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if value.lower() not in known:
        raise FilterError(f"{name}:{value}: write {name}:true or {name}:false", position)
    return known[value.lower()]


class _Failed:
    """Yes or no: what people call an error."""

    def compiled(self, value: str, _is_quoted: bool, position: int) -> Filter:
        bad_status = _FIELDS["status"].reads.compiled(">=400", False, position)
        good_end = _FIELDS["outcome"].reads.compiled("completed", False, position)
        failed = either(bad_status, negated(good_end))
        return failed if _truth("failed", value, position) else negated(failed)

    def present(self) -> Filter:
        return self.compiled("true", False, 0)


SENTIMENTS: Final = {"positive": "value > 0.5", "negative": "value < 0.5"}
"""How good feedback is, in SQL over its table; in between it is neither."""


class _Feedback:
    """What was said of the answer. It stands in a table of its own, which leads straight to the requests."""

    def compiled(self, value: str, _is_quoted: bool, position: int) -> Filter:
        if not value:
            return negated(self.present())
        if value.lower() not in SENTIMENTS:
            raise FilterError(f"{value}: write feedback:positive or feedback:negative", position)
        return self._given(SENTIMENTS[value.lower()])

    def present(self) -> Filter:
        return self._given("1")

    def _given(self, condition: str) -> Filter:
        sql = f"EXISTS (SELECT 1 FROM feedback WHERE request = id AND {condition})"  # noqa: S608 (constants)
        anchor = Clause(f"id IN (SELECT request FROM feedback WHERE {condition})")  # noqa: S608 (constants)
        return Filter(sql, anchor=anchor, rest=_ANY)


_Reads = _Text | _Number | _Flag | _Prompt | _Failed | _Feedback


class _Field(NamedTuple):
    """A field of the grammar."""

    reads: _Reads
    about: str
    value: str = ""
    """What it says of a row, in SQL, where people may want to choose from what occurs."""


class FieldShape(NamedTuple):
    """A field as people are told about it."""

    name: str
    kind: Literal["text", "number", "money", "duration", "flag"]
    about: str
    has_values: bool
    """What occurs can be listed."""


def described() -> list[FieldShape]:
    """Return the fields of the grammar, in the order in which they are of use."""
    return [FieldShape(name, _kind(field.reads), field.about, bool(field.value)) for name, field in _FIELDS.items()]


def value_sql(name: str) -> Clause:
    """Return what a field says of a row, in SQL. Raises FilterError: there is no such field, or nothing to choose from."""
    prefix, dot, tag = name.partition(".")
    if dot and prefix.lower() == "meta" and tag:
        return Clause("(SELECT value FROM json_each(tags) WHERE key = ?)", (tag,))
    if name.lower() not in _FIELDS or not _FIELDS[name.lower()].value:
        known = ", ".join(shape.name for shape in described() if shape.has_values)
        raise FilterError(f"{name}: values can be listed of {known}, meta.…")
    return Clause(_FIELDS[name.lower()].value)


def _kind(reads: _Reads) -> Literal["text", "number", "money", "duration", "flag"]:
    if isinstance(reads, _Number):
        return reads.kind
    return "flag" if isinstance(reads, _Flag | _Failed) else "text"


def _names() -> str:
    return ", ".join([*sorted(_FIELDS), "has", "meta.…"])


_FIELDS: Final[dict[str, _Field]] = {
    "key": _Field(_Text("key", facet="key"), "the virtual key that was used", "key"),
    "model": _Field(
        _Text("model", "model_requested", facet="model"),
        "the model that was asked for, or the one that answered",
        "coalesce(model, model_requested)",
    ),
    "user": _Field(_Text("user", is_indexed=True, index_has_time=True), "who the request was made for", "user"),
    "session": _Field(
        _Text("session", is_indexed=True, index_has_time=True), "the conversation that it belongs to", "session"
    ),
    "status": _Field(_Status(), "the HTTP status of the answer; 4xx is a class", "status"),
    "failed": _Field(_Failed(), "not completed, or answered with 400 or above"),
    "error": _Field(_Text("error_code", facet="error"), "the code of the error", "error_code"),
    "outcome": _Field(_Text("outcome", facet="outcome"), "how it ended: completed, timeout, refused, …", "outcome"),
    "latency": _Field(
        _Number("duration_us", "duration", measure="latency"), "from the request to the end of the answer"
    ),
    "ttft": _Field(_Number("first_token_us", "duration", measure="ttft"), "from the request to the first token"),
    "cost": _Field(_Number("cost_nano_usd", "money", measure="cost"), "what it cost, in dollars"),
    "tokens": _Field(_Number(MEASURES["tokens"], "number", measure="tokens"), "tokens of request and answer"),
    "input": _Field(_Number("input_tokens", "number", measure="input"), "tokens of the request, cached ones included"),
    "output": _Field(_Number("output_tokens", "number", measure="output"), "tokens of the answer, reasoning included"),
    "environment": _Field(_Text("environment", facet="environment"), "such as production", "environment"),
    "prompt": _Field(_Prompt(), "the prompt's name, or name@version", "prompt_name"),
    "finish": _Field(_Text("finish_reason", facet="finish"), "why the answer ended: stop, length, …", "finish_reason"),
    "endpoint": _Field(_Text("endpoint", facet="endpoint"), "the kind of the request: chat, embeddings, …", "endpoint"),
    "upstream": _Field(_Text("upstream", facet="upstream"), "the upstream of the configuration", "upstream"),
    "provider": _Field(_Text("provider", facet="provider"), "the provider whose prices apply", "provider"),
    "streaming": _Field(_Flag("streaming", "streaming != 0"), "the answer came as a stream"),
    "cached": _Field(_Flag("cached", "coalesce(cached_input_tokens, 0) > 0"), "the provider's cache was used"),
    "tools": _Field(_Flag("tools", "tool_calls != '[]'"), "the answer calls tools"),
    "feedback": _Field(
        _Feedback(),
        "what was said of the answer: positive or negative",
        f"(SELECT CASE WHEN {SENTIMENTS['positive']} THEN 'positive' WHEN {SENTIMENTS['negative']} THEN 'negative' END"  # noqa: S608 (constants)
        " FROM feedback WHERE request = id ORDER BY at DESC LIMIT 1)",
    ),
    "unpriced": _Field(_Flag("unpriced", "is_unpriced != 0"), "it cost something, and the price is not known"),
    "retry": _Field(_Flag("retry", "retry_of IS NOT NULL"), "another attempt of Glassline's own"),
    "attempt": _Field(_Number("attempt", "number"), "which attempt it was, from 1"),
    "overhead": _Field(_Number("overhead_us", "duration"), "the time that Glassline added"),
    "trace": _Field(_Text("trace_id", is_indexed=True), "the trace that it belongs to"),
    "id": _Field(_Text("id", is_indexed=True), "the id of the request"),
    "path": _Field(_Text("path"), "the path that was asked for", "path"),
    "method": _Field(_Text("method"), "the HTTP method", "method"),
    "wire": _Field(_Text("wire"), "the API that was spoken", "wire"),
}
