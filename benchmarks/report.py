"""The figures of a run as tables: for the terminal, and as docs/performance.md with its pictures."""

from statistics import median

from benchmarks.measure import Sample
from benchmarks.plot import Bar, Limit, draw_bars
from benchmarks.results import Profile, Results
from benchmarks.scaling import Step
from benchmarks.summary import BASELINE, LEAST, YARDSTICK, Row, median_of, summarise
from benchmarks.targets import judge_targets
from benchmarks.workloads import ALL, CLOSED_LOOP, PACED_150, SATURATED, STREAMS_1000, Workload


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


def _targets(results: Results) -> str:
    verdicts = judge_targets(results)
    words = {True: "yes", False: "**no**", None: "not measured"}
    lines = [
        "| work | target | seen | met |",
        "| --- | --- | --- | --- |",
        *(f"| {v.work} | {v.target} | {v.seen} | {words[v.is_met]} |" for v in verdicts),
    ]
    missed = [f"- {v.work}: {v.why}" for v in verdicts if v.is_met is False and v.why]
    reasons = ["", "What the figures of the targets that are not met consist of, in the same run:", "", *missed]
    return "\n".join([*lines, *(reasons if missed else ())])


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


def _problems(results: Results) -> str:
    found = [f"- {problem}" for problem in results.problems()]
    return "\n".join(["**Not everything went well, so trust none of this:**\n", *found]) if found else ""


def disturbance(samples: list[Sample]) -> str:
    """Say how much other programs got in the way of the measured ones."""
    waited = median_of(sample.gateway_waited for sample in samples if sample.gateway_cpu_us is not None)
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


def _scaling(steps: list[Step]) -> str:
    if not steps:
        return "Not measured in this run."
    lines = [
        "| gateways | requests/s | CPU µs per request, gateways | connections, fewest | most | least busy core |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for count in sorted({step.gateways for step in steps}):
        taken = [step for step in steps if step.gateways == count]
        lines.append(
            f"| {count} | {median(step.requests_per_second for step in taken):,.0f} "
            f"| {median(step.cpu_us for step in taken):.1f} "
            f"| {min(min(step.connections) for step in taken)} | {max(max(step.connections) for step in taken)} "
            f"| {median(min(step.busy) for step in taken):.0%} |"
        )
    return "\n".join([*lines, "", SCALING_METHOD])


def _footprint(results: Results) -> str:
    seen = results.footprint
    if seen is None:
        return "Not measured in this run."
    visible = seen.visible
    lines = [
        "| process, idle | memory |",
        "| --- | ---: |",
        *(f"| {name} | {size / 1e6:.1f} MB |" for name, size in seen.idle_bytes.items()),
        f"| together | {sum(seen.idle_bytes.values()) / 1e6:.1f} MB |",
        "",
        (
            "Memory is the proportional set size: pages that several processes share are counted once in all; where it is "
            "compared with itself, without the pages of files."
        ),
        (
            f"The starts took {', '.join(f'{seconds:.2f}' for seconds in seen.start_seconds)} s, each with a new data "
            "directory, from the start of the command until `/readyz` answered 200."
        ),
        f"The memory per open stream is that of {seen.streams:,} streams, the first ones; buffers of the kernel are not in it.",
        f"The growth is the slope over {seen.growth_requests:,} recorded requests, extrapolated to a million.",
        (
            f"Of {visible.count:,} requests among 1,000 others per second the record was shown by the API "
            f"{visible.p50 * 1e3:.0f} ms (p50), {visible.p99 * 1e3:.0f} ms (p99) and at most {visible.max * 1e3:.0f} ms "
            "after the last byte of the answer."
        ),
    ]
    return "\n".join(lines)


def draw_plots(results: Results) -> dict[str, str]:
    """Return the pictures of the page, by file name."""
    plots = (
        ("cpu-requests", "CPU µs per 1 KB request, gateway process", CLOSED_LOOP, _gateway_cpu, None),
        ("efficiency", "1 KB requests per CPU-second, all processes", CLOSED_LOOP, _per_cpu_second, None),
        ("cpu-chunks", "CPU µs per chunk, 1,000 streams, gateway process", STREAMS_1000, _gateway_cpu, None),
        ("latency", "Added latency at 150 requests/s, p50 in µs", PACED_150, _added_p50, Limit(350, "0.35 ms")),
        ("chunks", "Chunks per second, one core, saturated", SATURATED, _rate, Limit(50_000, "50,000")),
    )
    pictures = {}
    for name, title, workload, read, limit in plots:
        values = [(row.variant, read(row)) for row in summarise(results.samples, workload)]
        bars = [Bar(variant, value, f"{value:,.0f}") for variant, value in values if value is not None]
        if bars:
            pictures[f"{name}.svg"] = draw_bars(title, bars, limit)
    return pictures


def _gateway_cpu(row: Row) -> float | None:
    return row.gateway_cpu_us if row.variant in (YARDSTICK, LEAST, "glassline", "glassline+budget") else None


def _per_cpu_second(row: Row) -> float | None:
    return 1e6 / row.all_cpu_us if row.all_cpu_us else None


def _added_p50(row: Row) -> float | None:
    return row.added_p50_us


def _rate(row: Row) -> float | None:
    return row.rate if row.variant != BASELINE else None


METHOD = """\
`make bench` compiles a load generator and a mock provider (`benchmarks/*.c`, epoll, no library) and puts one proxy at a time between them, over loopback, without TLS.
Every process has its core, at nice {nice}: {cores}.
In each of {rounds} rounds every variant runs for {seconds:g} s per workload, and the order of the variants turns from round to round.
A figure is the median of the rounds, a ratio the median of the ratios within a round; *spread* is the widest distance of a round from the median of gateway CPU.
CPU is run time from `/proc/PID/task/*/schedstat`, divided by requests or chunks.
*Gateway* is the gateway process, for nginx master and worker; *all* is every process of the proxy, until the last request stands in the database.
nginx has one worker, pooled upstream connections, `proxy_buffering off` and no access log: it records nothing.
*bare* is the least relay in Glassline's language, with its loop and its parser (`benchmarks/bare.py`): it records nothing, and is there to tell the price of the language from the price of the work.
LiteLLM and Portkey run with their defaults as one process, without a database: they record nothing either.
Glassline records everything: request and response bodies, usage, cost.
Latency at a given rate counts from the scheduled time of the request, the delay of a chunk from the clock reading inside it, while all streams are open.
Every answer is compared with what the provider sent, byte for byte, and every request carries a number that its answer must repeat; of LiteLLM and Portkey, which write answers anew, status, text and number are compared.
After each measurement the recorded requests are counted, and the recorded bodies of some are compared with what was sent and answered, byte for byte.
Each request body is different; the system prompt in it is not, as with real applications.
A chunk is an event of about 245 bytes, one `send` each; a stream has {chunks}, and its share of the request around it is in the figure per chunk."""

SCALING_METHOD = """\
Each gateway has a core of its own, and everything else shares one more: the load generator, the provider and, at the lowest priority, the other processes of Glassline.
So this is the relaying alone, into the journal; the recorder catches up afterwards, and then every request is counted.
The connections are those at one gateway, of 64 for each of them on average: the fewest and the most over all rounds.
Where the least busy core is not near 100 %, the shared core was the limit and not the gateways."""

CAVEATS = """\
- The load average was {before:.1f} before and {after:.1f} after the run; with anything above about 1 before, read the ratios and not the single figures, and no p99.
- Of the disturbance by other programs this is the measure: {waited}.
- p99 over {seconds:g} s on a virtual machine is mostly the host; differences below a millisecond mean nothing.
- At low rates every proxy, nginx included, costs several times more per request than at saturation: caches are cold and each wake-up serves one request. A figure without its rate is half a figure.
- The mock provider answers at once. The added delay is what the proxy costs, not a share of a real answer, which takes seconds.
- *All* includes what the processes of Glassline do when nobody asks for anything, which weighs most at the lowest rate.
- In a saturated run more is offered than passes, and latencies say only how much more.
- TLS is not measured, neither towards the client nor towards the provider."""


def markdown(results: Results) -> str:
    """The page docs/performance.md."""
    samples, about = results.samples, results.about
    tables = []
    for workload in ALL:
        rows = summarise(samples, workload)
        if rows:
            tables.append(f"### {workload.title}\n\nCPU in µs per {workload.unit}.\n\n{_markdown_table(rows)}")
    facts = {"commit": about.commit, "date": about.date} | about.machine | about.versions
    machine = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    streams = (f"{workload.chunks} ({workload.title})" for workload in ALL if workload.is_stream)
    method = METHOD.format(
        cores=about.cores, nice=about.nice, rounds=about.rounds, seconds=about.seconds, chunks=", ".join(streams)
    )
    caveats = CAVEATS.format(
        before=about.load_before, after=about.load_after, waited=disturbance(samples), seconds=about.seconds
    )
    plots = "\n\n".join(f"![{name.removesuffix('.svg')}](performance/{name})" for name in draw_plots(results))
    sections = [
        "# Performance\n\nWritten by `make bench`; run it to get the figures of your machine.",
        _problems(results),
        f"## Targets\n\n{_targets(results)}",
        _records(samples),
        plots,
        "## Figures",
        *tables,
        f"## Several gateways\n\n{_scaling(results.scaling)}",
        f"## Footprint\n\n{_footprint(results)}",
        f"## What dominates\n\n{_profiles(results.profiles)}",
        f"## Method\n\n{method}",
        f"## Machine\n\n| | |\n| --- | --- |\n{machine}",
        f"## Caveats\n\n{caveats}",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"
