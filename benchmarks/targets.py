"""What we demand of ourselves, against what was seen.

A demand that no figure of the run speaks to is `not measured`, never met.
Where something is demanded with and without a budget on the key, both must keep it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median

from benchmarks.elsewhere import Kind
from benchmarks.floors import explain_bytes, explain_gateway, explain_others
from benchmarks.results import Results
from benchmarks.summary import Row, efficiency, summarise
from benchmarks.workloads import (
    CLOSED_LOOP,
    PACED_150,
    PROMPT_4_KB,
    PROMPT_50_KB,
    SATURATED,
    STREAMS_200,
    STREAMS_1000,
    Workload,
)

PLAIN, BUDGET = "glassline", "glassline+budget"
PHRASES = {PLAIN: "", BUDGET: " with a budget"}
MB = 1e6


@dataclass(frozen=True, slots=True)
class Figure:
    value: float
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line of the table."""

    work: str
    target: str
    seen: str
    is_met: bool | None
    "None: not measured"
    why: str = ""
    "what of the figure is left to save, where it is not met"


def judge_targets(results: Results) -> list[Verdict]:
    """Compare every demand with the run."""
    return [
        *_relay(results),
        *_streams(results),
        *_gateways(results),
        *_footprint(results),
        *_elsewhere(results),
        *_competitors(results),
    ]


def at_most(work: str, limit: float, target: str, figures: Sequence[Figure]) -> Verdict:
    """Demand that no figure exceeds the limit."""
    return _verdict(work, target, figures, all(figure.value <= limit for figure in figures))


def at_least(work: str, limit: float, target: str, figures: Sequence[Figure]) -> Verdict:
    """Demand that every figure reaches the limit."""
    return _verdict(work, target, figures, all(figure.value >= limit for figure in figures))


def _verdict(work: str, target: str, figures: Sequence[Figure], is_met: bool) -> Verdict:
    if not figures:
        return Verdict(work, target, "not measured", None)
    return Verdict(work, target, ", ".join(figure.text for figure in figures), is_met)


def _rows(results: Results, workload: Workload, *variants: str) -> Iterator[tuple[str, Row]]:
    """Return the rows of Glassline's variants, and what to call them."""
    wanted = variants or (PLAIN, BUDGET)
    for row in summarise(results.samples, workload):
        if row.variant in wanted:
            yield (PHRASES[row.variant] if not variants else ""), row


def _times(value: float | None, phrase: str = "") -> list[Figure]:
    return [] if value is None else [Figure(value, f"{value:.2f} x{phrase}")]


def _milliseconds(value_us: float | None, phrase: str = "") -> list[Figure]:
    return [] if value_us is None else [Figure(value_us / 1e3, f"{value_us / 1e3:.2f} ms{phrase}")]


def _relay(results: Results) -> Iterator[Verdict]:
    for variant, limit, phrase in ((PLAIN, 2.2, ""), (BUDGET, 2.8, ", with a budget")):
        figures = [f for _, row in _rows(results, CLOSED_LOOP, variant) for f in _times(row.gateway_ratio)]
        verdict = at_most(f"CPU per 1 KB request, gateway process{phrase}", limit, f"≤ {limit} x nginx", figures)
        yield replace(verdict, why=explain_gateway(results, CLOSED_LOOP, variant))
    figures = [f for name, row in _rows(results, CLOSED_LOOP) for f in _times(row.all_ratio, name)]
    verdict = at_most("CPU per 1 KB request, all processes", 5, "≤ 5 x nginx", figures)
    yield replace(verdict, why=explain_others(results, CLOSED_LOOP, PLAIN))
    for workload, least in ((CLOSED_LOOP, 6000), (PROMPT_4_KB, 4500), (PROMPT_50_KB, 1500)):
        figures = [Figure(row.rate, f"{row.rate:,.0f}{name}") for name, row in _rows(results, workload)]
        work = f"requests/s, {workload.prompt_kb} KB prompts, one gateway core"
        yield at_least(work, least, f"≥ {least:,}", figures)
    for variant, limit, phrase in ((PLAIN, 0.35, ""), (BUDGET, 0.6, ", with a budget")):
        figures = [f for _, row in _rows(results, PACED_150, variant) for f in _milliseconds(row.added_p50_us)]
        yield at_most(f"added latency at 150 requests/s, p50{phrase}", limit, f"≤ {limit} ms", figures)
    figures = [f for name, row in _rows(results, PACED_150) for f in _milliseconds(row.added_p99_us, name)]
    yield at_most("added latency at 150 requests/s, p99", 1.5, "≤ 1.5 ms", figures)


def _streams(results: Results) -> Iterator[Verdict]:
    for workload, name in ((STREAMS_200, "200 streams of 50/s"), (STREAMS_1000, "1,000 streams of 20/s")):
        rows = list(_rows(results, workload))
        figures = [f for phrase, row in rows for f in _times(row.gateway_ratio, phrase)]
        verdict = at_most(f"CPU per relayed SSE chunk, {name}", 1.5, "≤ 1.5 x nginx", figures)
        yield replace(verdict, why=explain_gateway(results, workload, PLAIN))
        figures = [f for phrase, row in rows for f in _milliseconds(row.added_p50_us, phrase)]
        yield at_most(f"added latency per chunk, {name}, p50", 0.15, "≤ 0.15 ms", figures)
        figures = [f for phrase, row in rows for f in _milliseconds(row.added_p99_us, phrase)]
        yield at_most(f"added latency per chunk, {name}, p99", 2, "≤ 2 ms", figures)
    figures = [Figure(row.rate, f"{row.rate:,.0f}{name}") for name, row in _rows(results, SATURATED)]
    yield at_least("chunks/s, one core, saturated", 50_000, "≥ 50,000", figures)


def _gateways(results: Results) -> Iterator[Verdict]:
    for count, least in ((2, 1.8), (3, 2.5)):
        speedup, by_cpu = results.speedup(count), results.speedup_by_cpu(count)
        figures = []
        if speedup is not None and by_cpu is not None:
            text = f"{speedup:.2f} x; {by_cpu:.2f} x by the gateways' CPU time per request"
            figures.append(Figure(speedup, text))
        yield at_least(f"requests/s of {count} gateways against one", least, f"≥ {least} x", figures)


def _footprint(results: Results) -> Iterator[Verdict]:
    seen = results.footprint
    idle = [] if seen is None else [_megabytes(sum(seen.idle_bytes.values()))]
    yield at_most("memory of all processes, idle", 180, "≤ 180 MB", idle)
    stream = [] if seen is None else [Figure(seen.stream_bytes / 1e3, f"{seen.stream_bytes / 1e3:.0f} KB")]
    yield at_most("memory per open stream", 40, "≤ 40 KB", stream)
    growth = [] if seen is None else [_megabytes(seen.growth_bytes_per_million)]
    yield at_most("growth of memory per million requests", 2, "≤ 2 MB", growth)
    start = [] if seen is None else [Figure(median(seen.start_seconds), f"{median(seen.start_seconds):.2f} s")]
    yield at_most("cold start to ready", 1.5, "≤ 1.5 s", start)
    yield at_most("install size", 120, "≤ 120 MB", [] if seen is None else [_megabytes(seen.installed_bytes)])
    packages = [] if seen is None else [Figure(seen.packages, str(seen.packages))]
    yield at_most("runtime packages, indirect ones included", 25, "≤ 25", packages)
    visible = [] if seen is None else _milliseconds(seen.visible.p99 * 1e6)
    yield at_most("record visible in the API at 1,000 requests/s, p99", 200, "≤ 200 ms", visible)


def _megabytes(size: float) -> Figure:
    return Figure(size / MB, f"{size / MB:.1f} MB")


def _elsewhere(results: Results) -> Iterator[Verdict]:
    corpus, asked = results.elsewhere.corpus, results.elsewhere.questions
    agent = [Figure(corpus["agent"].ratio, f"{corpus['agent'].ratio:.1f} x")] if "agent" in corpus else []
    yield at_least("stored bytes of bodies, agent corpus", 25, "≥ 25 x smaller", agent)
    chat = [_kilobytes_each(corpus["chat"])] if "chat" in corpus else []
    verdict = at_most("stored bytes, 1 KB chats, rows and indexes included", 1.2, "≤ 1.2 KB per request", chat)
    yield replace(verdict, why=explain_bytes(corpus["chat"]) if "chat" in corpus else "")
    pages = [] if asked is None else [_of_rows(asked.p95_ms, asked.rows, f"; slowest list {asked.worst_p95_ms:.0f} ms")]
    yield at_most("list, filter, sort a page, p95", 50, "≤ 50 ms at 5,000,000 rows", pages)
    cost = [] if asked is None else [_of_rows(asked.cost_p95_ms, asked.rows)]
    yield at_most("cost by model, 90 days by day", 30, "≤ 30 ms at 5,000,000 rows", cost)
    overview = [] if asked is None else [_of_rows(asked.overview_p95_ms, asked.rows)]
    yield at_most("overview of 24 h", 30, "≤ 30 ms at 5,000,000 rows", overview)
    search = [] if asked is None else [_of_rows(asked.search_p95_ms, asked.rows)]
    yield at_most("full-text search, p95", 150, "≤ 150 ms at 5,000,000 rows", search)


def _kilobytes_each(kind: Kind) -> Figure:
    size = kind.total_bytes / kind.requests / 1024
    return Figure(size, f"{size:.2f} KB")


def _of_rows(value_ms: float, rows: int, more: str = "") -> Figure:
    return Figure(value_ms, f"{value_ms:.1f} ms at {rows:,}{more}")


def _competitors(results: Results) -> Iterator[Verdict]:
    for variant, name, least in (("litellm", "LiteLLM", 80), ("portkey", "Portkey", 10)):
        figures = []
        for mine, phrase in PHRASES.items():
            ratio = efficiency(results.samples, mine, variant)
            figures += [] if ratio is None else [Figure(ratio, f"{ratio:.0f} x{phrase}")]
        yield at_least(f"requests per CPU-second against {name}", least, f"≥ {least} x", figures)
