"""The figures of a run as tables: for the terminal, and as docs/performance.md.

A figure is the median over the rounds.
A ratio is the median over the rounds of the ratio within the round, so that a slow minute of the machine, which slows
both sides, does not count.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median

from benchmarks.hotspots import Share
from benchmarks.measure import CHUNKS_PER_STREAM, CLOSED_LOOP, WORKLOADS, Sample, Workload

YARDSTICK = "nginx"
BASELINE = "direct"


@dataclass(frozen=True, slots=True)
class Row:
    """One variant under one workload, over all rounds. None: does not apply, or nothing to compare with."""

    variant: str
    gateway_cpu_us: float | None
    gateway_ratio: float | None
    "gateway CPU against nginx"
    all_cpu_us: float | None
    all_ratio: float | None
    rate: float
    "units per second"
    p50_us: float
    added_p50_us: float | None
    "against the same round without a proxy"
    p99_us: float
    added_p99_us: float | None
    spread: float
    "widest distance of a round's gateway CPU from the median, as a share of it"


@dataclass(frozen=True, slots=True)
class Profile:
    variant: str
    workload: str
    libraries: list[Share]
    functions: list[Share]


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Everything a reader needs in order to judge the figures."""

    machine: dict[str, str]
    commit: str
    date: str
    rounds: int
    seconds: float
    nice: int
    cores: str
    load_before: float
    load_after: float
    versions: dict[str, str]


def summarise(samples: Iterable[Sample], workload: Workload) -> list[Row]:
    """One row per variant, in the order in which they were first measured."""
    by_variant: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.workload == workload.name:
            by_variant.setdefault(sample.variant, []).append(sample)
    return [_summarise(taken, by_variant, workload) for taken in by_variant.values()]


def _summarise(taken: list[Sample], by_variant: dict[str, list[Sample]], workload: Workload) -> Row:
    is_baseline = taken[0].variant == BASELINE
    nginx = {sample.round: sample for sample in by_variant.get(YARDSTICK, [])}
    direct = {} if is_baseline else {sample.round: sample for sample in by_variant.get(BASELINE, [])}
    gateway = _median(sample.gateway_cpu_us for sample in taken)
    return Row(
        variant=taken[0].variant,
        gateway_cpu_us=gateway,
        gateway_ratio=_ratio(taken, nginx, lambda sample: sample.gateway_cpu_us),
        all_cpu_us=_median(sample.all_cpu_us for sample in taken),
        all_ratio=_ratio(taken, nginx, lambda sample: sample.all_cpu_us),
        rate=median(_rate(sample, workload) for sample in taken),
        p50_us=median(sample.delay_us.p50 for sample in taken),
        added_p50_us=_added(taken, direct, lambda sample: sample.delay_us.p50),
        p99_us=median(sample.delay_us.p99 for sample in taken),
        added_p99_us=_added(taken, direct, lambda sample: sample.delay_us.p99),
        spread=max((abs((sample.gateway_cpu_us or 0) / gateway - 1) for sample in taken), default=0) if gateway else 0,
    )


def _rate(sample: Sample, workload: Workload) -> float:
    return sample.load.chunks_per_second if workload.is_stream else sample.load.requests_per_second


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def _ratio(taken: list[Sample], yardstick: dict[int, Sample], figure: Callable[[Sample], float | None]) -> float | None:
    ratios = []
    for sample in taken:
        mine, theirs = figure(sample), figure(yardstick[sample.round]) if sample.round in yardstick else None
        if mine is not None and theirs:
            ratios.append(mine / theirs)
    return _median(ratios)


def _added(taken: list[Sample], baseline: dict[int, Sample], figure: Callable[[Sample], float]) -> float | None:
    return _median(figure(sample) - figure(baseline[sample.round]) for sample in taken if sample.round in baseline)


def gateway_ratio(samples: Iterable[Sample], variant: str) -> float | None:
    """What the gateway of this variant costs per 1 KB request, in nginxes; None when either was not measured."""
    rows = summarise(samples, CLOSED_LOOP)
    return next((row.gateway_ratio for row in rows if row.variant == variant), None)


def _number(value: float | None, form: str = ",.1f", sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}{form}}"


HEADINGS = "proxy|CPU µs, gateway|vs nginx|CPU µs, all|vs nginx|per second|p50 µs|added p50|p99 µs|added p99|spread"


def _cells(row: Row) -> list[str]:
    return [
        row.variant,
        _number(row.gateway_cpu_us),
        _number(row.gateway_ratio, ".2f"),
        _number(row.all_cpu_us),
        _number(row.all_ratio, ".2f"),
        _number(row.rate, ",.0f"),
        _number(row.p50_us, ",.0f"),
        _number(row.added_p50_us, ",.0f", "+"),
        _number(row.p99_us, ",.0f"),
        _number(row.added_p99_us, ",.0f", "+"),
        f"±{row.spread:.0%}" if row.gateway_cpu_us else "-",
    ]


def text_table(rows: list[Row], workload: Workload) -> str:
    """The rows in aligned columns, under the title of the workload."""
    lines = [HEADINGS.split("|"), *map(_cells, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    aligned = (
        "  ".join(
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )
    return "\n".join([f"{workload.title} (CPU per {workload.unit})", *aligned])


def _markdown_table(rows: list[Row]) -> str:
    headings = HEADINGS.split("|")
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *map(_cells, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _verdict(samples: list[Sample], allowed: float) -> str:
    lines = []
    for variant, phrase in (("glassline", "without a budget"), ("glassline+budget", "with a budget on its key")):
        ratio = gateway_ratio(samples, variant)
        if ratio is not None:
            kept = "within" if ratio <= allowed else "beyond"
            lines.append(
                f"Per 1 KB request {phrase} the gateway process takes **{ratio:.2f} times** the CPU of nginx, "
                f"{kept} the {allowed:g} times that we allow ourselves."
            )
    return "\n".join(lines) or "Glassline was not part of this run."


def _records(samples: list[Sample]) -> str:
    recording = [sample for sample in samples if sample.recorded is not None]
    if not recording:
        return ""
    sent, recorded = sum(s.load.requests for s in recording), sum(s.recorded or 0 for s in recording)
    slowest = max(s.catch_up_seconds or 0 for s in recording)
    return (
        f"Of {sent:,} requests sent through Glassline {recorded:,} were recorded, bodies included; "
        f"the recorder was done at most {slowest:.1f} s after the end of a run."
    )


def _problems(samples: list[Sample]) -> str:
    found = [f"- {problem}" for sample in samples for problem in sample.problems()]
    return "\n".join(["**Not everything went well, so trust none of this:**\n", *found]) if found else ""


def disturbance(samples: list[Sample]) -> str:
    """Say how much other programs got in the way of the measured ones."""
    waited = _median(sample.gateway_waited for sample in samples if sample.gateway_cpu_us is not None)
    return f"in the median measurement the proxy waited for its core {waited or 0:.0%} of the time that it ran on it"


def _profiles(profiles: list[Profile]) -> str:
    if not profiles:
        return "Not profiled in this run: `--profile` adds the shares by library, where `perf` is installed."
    parts = []
    for profile in profiles:
        libraries = ", ".join(f"{share.name} {share.percent:.0f} %" for share in profile.libraries)
        functions = "\n".join(f"- {share.percent:.1f} % `{share.name}`" for share in profile.functions)
        parts.append(f"**{profile.variant}, {profile.workload}**: {libraries}.\n\n{functions}")
    return "\n\n".join(parts)


METHOD = """\
`make bench` compiles a load generator and a mock provider (`benchmarks/*.c`, epoll, no library) and puts one proxy at a time between them, over loopback, without TLS.
Every process has its core, at nice {nice}: {cores}.
In each of {rounds} rounds every variant runs for {seconds:g} s per workload, and the order of the variants turns from round to round.
A figure is the median of the rounds, a ratio the median of the ratios within a round; *spread* is the widest distance of a round from the median of gateway CPU.
CPU is run time from `/proc/PID/task/*/schedstat`, divided by requests or chunks.
*Gateway* is the gateway process, for nginx master and worker; *all* is every process of the proxy, until the last request stands in the database.
nginx has one worker, pooled upstream connections, `proxy_buffering off` and no access log: it records nothing.
Glassline records everything: request and response bodies, usage, cost.
Latency at a given rate counts from the scheduled time of the request, the delay of a chunk from the clock reading inside it.
Every answer is compared with what the provider sent, byte for byte, and every request carries a number that its answer must repeat.
Each request body is different; the system prompt in it is not, as with real applications.
A stream has {chunks} chunks of about 245 bytes, one `send` each; its share of the request around it is in the figure per chunk."""

CAVEATS = """\
- The load average was {before:.1f} before and {after:.1f} after the run; with anything above about 1 before, read the ratios and not the single figures, and no p99.
- Of the disturbance by other programs this is the measure: {waited}.
- p99 over {seconds:g} s on a virtual machine is mostly the host; differences below a millisecond mean nothing.
- At low rates every proxy, nginx included, costs several times more per request than at saturation: caches are cold and each wake-up serves one request. A figure without its rate is half a figure.
- The mock provider answers at once. The added delay is what the proxy costs, not a share of a real answer, which takes seconds.
- *All* includes what the processes of Glassline do when nobody asks for anything, which weighs most at the lowest rate.
- TLS is not measured, neither towards the client nor towards the provider."""


def markdown(samples: list[Sample], profiles: list[Profile], about: Circumstances, allowed_ratio: float) -> str:
    """The page docs/performance.md."""
    tables = []
    for workload in WORKLOADS:
        rows = summarise(samples, workload)
        if rows:
            tables.append(f"### {workload.title}\n\nCPU in µs per {workload.unit}.\n\n{_markdown_table(rows)}")
    facts = {"commit": about.commit, "date": about.date} | about.machine | about.versions
    machine = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    method = METHOD.format(
        cores=about.cores, nice=about.nice, rounds=about.rounds, seconds=about.seconds, chunks=CHUNKS_PER_STREAM
    )
    caveats = CAVEATS.format(
        before=about.load_before, after=about.load_after, waited=disturbance(samples), seconds=about.seconds
    )
    sections = [
        "# Performance\n\nWritten by `make bench`; run it to get the figures of your machine.",
        _verdict(samples, allowed_ratio),
        _records(samples),
        _problems(samples),
        "## Figures",
        *tables,
        f"## What dominates\n\n{_profiles(profiles)}",
        f"## Method\n\n{method}",
        f"## Machine\n\n| | |\n| --- | --- |\n{machine}",
        f"## Caveats\n\n{caveats}",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"
