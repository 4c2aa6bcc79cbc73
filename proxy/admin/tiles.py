"""Tiles and the verdict sentence: what the gauges and the signs say, in the words and numbers that pages and programs show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from proxy.admin.figures import dollars, duration, long_duration, of_things, percent, whole_minutes
from proxy.admin.gauges import Gauge, Name, State, word_of
from proxy.admin.verdict import RECENT_S, UNSERVED_S, Level, Reason
from proxy.store.recent import FAULTS_FILTER, Seen

_LABELS: Final[dict[Name, str]] = {
    "error_rate": "Error rate",
    "latency": "P95 latency",
    "cost": "Cost per hour",
}
_UNITS: Final[dict[Name, Literal["share", "ms", "nano_usd"]]] = {
    "error_rate": "share",
    "latency": "ms",
    "cost": "nano_usd",
}
_LEVELS: Final[dict[State, Level]] = {"warning": "degraded", "silent": "degraded", "critical": "failing"}
_NOTHING: Final = "\N{EN DASH}"
MINUS: Final = "\N{MINUS SIGN}"
_GRAVITY: Final[dict[State, int]] = {"ok": 0, "warning": 1, "critical": 2}
_TELLING: Final = 0.2
"""By how much the share of a group among the bad must exceed its share of all, to be called the cause."""
_MOST: Final = 0.5


class Link(msgspec.Struct, frozen=True):
    """A list of requests."""

    label: str
    q: str
    """A filter; '': all."""
    start: int = msgspec.field(name="from")
    """Unix ms."""
    end: int = msgspec.field(name="to")
    """Unix ms, not included."""


class Cause(msgspec.Struct, frozen=True):
    """The group that contributes most."""

    dimension: Literal["model", "upstream", "key", "user"]
    value: str
    bad: int
    """Of the requests at fault, so many are of the group; of a cost, nano-USD."""
    of_bad: int
    requests: int
    """Of all requests looked at, so many are of the group."""
    of_requests: int
    q: str | None
    """A filter for those at fault in it; None: the value cannot be written in one."""


class Series(msgspec.Struct, frozen=True):
    """The last 24 hours and now."""

    at: list[int]
    """Unix ms: where each hour begins, and now."""
    values: list[float | None]
    """None: there was nothing to tell it from."""


class Tile(msgspec.Struct, frozen=True, kw_only=True):
    """One number of the overview."""

    name: Name
    label: str
    state: State
    word: str
    """The state in words: `OK`, `Warning`, `Too little traffic to judge`, `No traffic for 23 min`."""
    since: int | None
    """Unix ms when the state began; None: it was so when somebody began to look."""
    value: float | None
    unit: Literal["share", "ms", "nano_usd"]
    text: str
    """The value for people; a dash: there is none."""
    warn: float | None
    critical: float | None
    rule: str
    sample: str
    """From how much it is told: `1 of 214 in 15 min`."""
    requests: int
    counted: int
    """Of these: failed, or above the warning line; all of them for the cost."""
    window_s: int
    yesterday: float | None
    """The value in the same hour of yesterday."""
    difference: str
    """From it, for people; empty: there was nothing to compare with."""
    is_worse: bool | None
    """None: neither better nor worse, or unknown."""
    note: str = ""
    """Why the state is not yet what the value says, or one more number that belongs to it."""
    series: Series
    link: Link


class Headline(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict in a sentence, its cause in another, and where to look."""

    state: State
    text: str
    detail: str = ""
    cause: Cause | None = None
    link: Link | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """A gauge in the state in which it is shown."""

    gauge: Gauge
    state: State
    since_ms: int | None

    @property
    def word(self) -> str:
        """Return the state in words."""
        return self.gauge.word if self.state == self.gauge.state else word_of(self.state)

    @property
    def note(self) -> str:
        """Return why the state is not yet what the value says, or one more number."""
        if self.state == self.gauge.state:
            return self.gauge.note
        is_worse = _GRAVITY.get(self.gauge.state, 0) > _GRAVITY.get(self.state, 0)
        return "above its line, being watched" if is_worse else "below its line again, being watched"

    @property
    def is_bad(self) -> bool:
        """Say whether somebody should look."""
        return self.state in _LEVELS


def tile(shown: Shown, now_ms: int) -> Tile:
    """Return a gauge as it is shown."""
    gauge = shown.gauge
    difference, is_worse = _difference(gauge)
    return Tile(
        name=gauge.name,
        label=_LABELS[gauge.name],
        state=shown.state,
        word=shown.word,
        since=shown.since_ms,
        value=gauge.value,
        unit=_UNITS[gauge.name],
        text=_text(gauge.name, gauge.value, len(gauge.sample.rows)),
        warn=gauge.warn,
        critical=gauge.critical,
        rule=gauge.rule,
        sample=_sample(gauge, now_ms),
        requests=len(gauge.sample.rows),
        counted=gauge.counted,
        window_s=round(_window_s(gauge, now_ms)),
        yesterday=gauge.yesterday,
        difference=difference,
        is_worse=is_worse,
        note=shown.note,
        series=Series([at for at, _ in gauge.series], [value for _, value in gauge.series]),
        link=_link(gauge, now_ms),
    )


def reasons(gauges: Sequence[Shown]) -> list[Reason]:
    """Return what the gauges give as reasons of the verdict."""
    found: dict[str, Reason] = {}
    for shown in gauges:
        if shown.is_bad:
            code = "no_traffic" if shown.state == "silent" else shown.gauge.name
            text = _short(shown) + (_faults_text(shown.gauge) if code == "error_rate" else "")
            found.setdefault(code, Reason(_LEVELS[shown.state], code, text))
    return list(found.values())


def _faults_text(gauge: Gauge) -> str:
    """Return what failed, for those who read nothing else."""
    kinds = Counter(f"{row.upstream} {row.what}" for row in gauge.sample.rows if row.is_fault)
    most = f", most of them {kinds.most_common(1)[0][0]}" if kinds else ""
    return f": {gauge.counted:,} of {of_things(len(gauge.sample.rows), 'request')}{most}"


def headline(signs: Sequence[Reason], gauges: Sequence[Shown], now_ms: int) -> Headline:
    """Return the verdict in a sentence. `signs`: reasons that are not the gauges', the worst first."""
    bad = sorted((shown for shown in gauges if shown.is_bad), key=lambda shown: shown.state != "critical")
    count = len(signs) + len({_short(shown) for shown in bad})
    if count == 0:
        return _quiet(gauges)
    worst_sign = signs[0].level if signs else "ok"
    if signs and (worst_sign == "failing" or not bad or bad[0].state != "critical"):
        state: State = "critical" if worst_sign == "failing" else "warning"
        link = _sign_link(signs[0].code, now_ms)
        return Headline(state=state, text=_attention(count, signs[0].text), detail=_rest(signs[1:], bad), link=link)
    return _of_gauge(bad[0], count, _rest(signs, bad[1:]), now_ms)


_SIGN_LINKS: Final = {
    "unpriced": ("See requests without a price", "unpriced:true", RECENT_S),
    "unserved": ("See refused requests", "error:recorder_unavailable", UNSERVED_S),
}


def _sign_link(code: str, now_ms: int) -> Link | None:
    if code not in _SIGN_LINKS:
        return None
    label, q, seconds = _SIGN_LINKS[code]
    return Link(label, q, now_ms - seconds * 1000, now_ms + 1)


def _of_gauge(shown: Shown, count: int, rest: str, now_ms: int) -> Headline:
    gauge = shown.gauge
    if shown.state == "silent":
        return Headline(state="warning", text=_attention(count, _short(shown)), detail=_joined(_SILENT, rest))
    is_bad = _faulty(gauge)
    cause = find_cause(gauge.sample.rows, is_bad, _filter(gauge)) if is_bad else find_spender(gauge.sample.rows)
    lines = [_line(shown, now_ms), _cause_text(gauge, cause), rest]
    is_failing = gauge.name == "error_rate" and shown.state == "critical"
    text = f"Requests are failing: {_text(*_value(gauge))} errors{_since(shown, now_ms)}" if is_failing else ""
    return Headline(
        state=shown.state,
        text=text or _attention(count, _short(shown)),
        detail=_joined(*lines),
        cause=cause,
        link=_link(gauge, now_ms),
    )


_SILENT: Final = "There usually are requests at this hour: see whether applications reach the proxy."


def _quiet(gauges: Sequence[Shown]) -> Headline:
    errors, latency, _ = gauges
    for shown in (errors, latency):
        if shown.state in ("none", "unjudged"):
            return Headline(state=shown.state, text=shown.word)
    return Headline(state="ok", text="Everything is OK")


def _attention(count: int, what: str) -> str:
    begin = "One thing needs" if count == 1 else f"{count} things need"
    return f"{begin} attention: {what}"


def _rest(signs: Sequence[Reason], gauges: Sequence[Shown]) -> str:
    others = list(dict.fromkeys([*(sign.text for sign in signs), *(_short(shown) for shown in gauges)]))
    return f"Also: {'; '.join(others)}." if others else ""


def _joined(*sentences: str) -> str:
    return " ".join(filter(None, sentences))


def _short(shown: Shown) -> str:
    if shown.state == "silent":
        return shown.gauge.word[:1].lower() + shown.gauge.word[1:]
    label = _LABELS[shown.gauge.name]
    return f"{label if label.startswith('P') else label.lower()} is {_text(*_value(shown.gauge))}"


def _value(gauge: Gauge) -> tuple[Name, float | None, int]:
    return gauge.name, gauge.value, len(gauge.sample.rows)


def _text(name: Name, value: float | None, requests: int) -> str:
    if value is None:
        return _NOTHING
    if name == "error_rate":
        return percent(value, requests)
    return duration(value) if name == "latency" else dollars(round(value))


def _line(shown: Shown, now_ms: int) -> str:
    gauge = shown.gauge
    kind, limit = ("critical", gauge.critical) if shown.state == "critical" else ("warning", gauge.warn)
    if gauge.value is None or limit is None or gauge.value < limit:
        return "It is below the line again, and watched for a while."
    edge = f"{100 * limit:.0f}%" if gauge.name == "error_rate" else _text(gauge.name, limit, 0)
    return f"Above the {edge} {kind} line{_since(shown, now_ms)}."


def _since(shown: Shown, now_ms: int) -> str:
    if shown.since_ms is None or now_ms - shown.since_ms < 60_000:
        return ""
    return f" for {whole_minutes((now_ms - shown.since_ms) / 1000)}"


def _cause_text(gauge: Gauge, cause: Cause | None) -> str:
    if gauge.name == "cost":
        return f"{percent(cause.bad / cause.of_bad, 1)} of it: {cause.dimension} {cause.value}." if cause else ""
    what = {"error_rate": "failed", "latency": "slow"}[gauge.name]
    kinds = Counter(row.what for row in gauge.sample.rows if row.what)
    most = f"; most of them {kinds.most_common(1)[0][0]}" if gauge.name == "error_rate" and kinds else ""
    if cause is None:
        return f"No model, upstream, key or user stands out{most}."
    return (
        f"{cause.bad:,} of {cause.of_bad:,} {what} requests: {cause.dimension} {cause.value},"
        f" which has {cause.requests:,} of all {cause.of_requests:,}{most}."
    )


def _faulty(gauge: Gauge) -> Callable[[Seen], bool] | None:
    if gauge.name == "error_rate":
        return lambda row: bool(row.is_fault)
    limit = gauge.warn
    if gauge.name == "latency" and limit is not None:
        return lambda row: (row.duration_us or 0) >= limit * 1000
    return None


def find_cause(rows: Sequence[Seen], is_bad: Callable[[Seen], bool], q: str) -> Cause | None:
    """Return the group whose share among the bad exceeds its share of all the most; None: none stands out."""
    bad = [row for row in rows if is_bad(row)]
    best: Cause | None = None
    for dimension in ("model", "upstream", "key", "user"):
        among_bad = Counter(getattr(row, dimension) for row in bad)
        among_all = Counter(getattr(row, dimension) for row in rows)
        for value, count in among_bad.most_common(3):
            found = Cause(dimension, value, count, len(bad), among_all[value], len(rows), _within(q, dimension, value))
            if value and count >= _MOST * len(bad) and _excess(found) > (_excess(best) if best else _TELLING):
                best = found
    return best


def find_spender(rows: Sequence[Seen]) -> Cause | None:
    """Return the model, key or user that most of the money goes to, beyond its share of the requests; None: nobody."""
    whole = sum(row.cost_nano_usd for row in rows)
    best: Cause | None = None
    for dimension in ("model", "key", "user"):
        requests = Counter(getattr(row, dimension) for row in rows)
        spent: Counter[str] = Counter()
        for row in rows:
            spent[getattr(row, dimension)] += row.cost_nano_usd
        for value, amount in spent.most_common(1):
            found = Cause(dimension, value, amount, whole, requests[value], len(rows), _within("", dimension, value))
            if value and amount >= _MOST * whole > 0 and _excess(found) > (_excess(best) if best else _TELLING):
                best = found
    return best


def _excess(cause: Cause) -> float:
    return cause.bad / cause.of_bad - cause.requests / cause.of_requests


def _within(q: str, dimension: str, value: str) -> str | None:
    if '"' in value or "*" in value or len(value) > 200:
        return None
    return f'{dimension}:"{value}"' + (f" ({q})" if q else "")


def _filter(gauge: Gauge) -> str:
    if gauge.name == "error_rate":
        return FAULTS_FILTER
    if gauge.name == "latency" and gauge.warn is not None:
        return f"latency:>={gauge.warn:.0f}ms -outcome:refused"
    return ""


def _link(gauge: Gauge, now_ms: int) -> Link:
    label = {
        "error_rate": f"See {of_things(gauge.counted, 'failed request')}",
        "latency": f"See {of_things(gauge.counted, 'slow request')}",
        "cost": "See what costs",
    }[gauge.name]
    return Link(label, _filter(gauge), gauge.sample.from_ms, now_ms + 1)


def _window_s(gauge: Gauge, now_ms: int) -> float:
    return (now_ms - gauge.sample.from_ms) / 1000


def _sample(gauge: Gauge, now_ms: int) -> str:
    seconds = _window_s(gauge, now_ms)
    window = f"{seconds / 60:.0f} min" if seconds >= 119.5 else long_duration(max(1, seconds))
    requests = len(gauge.sample.rows)
    if gauge.name == "error_rate":
        return f"{gauge.counted:,} of {requests:,} in {window}"
    return f"{of_things(requests, 'request')} in {window}"


def _difference(gauge: Gauge) -> tuple[str, bool | None]:
    if gauge.value is None or gauge.yesterday is None:
        return "", None
    change = gauge.value - gauge.yesterday
    sign = "+" if change > 0 else MINUS
    if gauge.name == "error_rate":
        text = f"{sign}{abs(100 * change):.2f} pts" if abs(change) >= 0.00005 else "±0 pts"
    elif gauge.name == "latency":
        text = f"{sign}{duration(abs(change))}"
    else:
        text = f"{sign}{dollars(abs(round(change)))}"
    is_worse = None if gauge.name == "cost" or text == "±0 pts" else change > 0
    return f"{text} vs yesterday", is_worse
