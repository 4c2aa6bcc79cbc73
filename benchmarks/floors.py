"""Why a target is missed: what of a figure is left to save, from the same run."""

from collections.abc import Iterator

from benchmarks.elsewhere import Kind
from benchmarks.hotspots import Share
from benchmarks.results import Results
from benchmarks.summary import LEAST, YARDSTICK, Row, summarise
from benchmarks.workloads import Workload


def explain_gateway(results: Results, workload: Workload, variant: str) -> str:
    """Say what a gateway's CPU time consists of, and what the least relay in this language takes."""
    rows = {row.variant: row for row in summarise(results.samples, workload)}
    return " ".join([*_beside_the_least(rows, variant, workload), *_shares(results, rows, workload, variant)])


def explain_others(results: Results, workload: Workload, variant: str) -> str:
    """Say what the processes beside the gateway take."""
    rows = {row.variant: row for row in summarise(results.samples, workload)}
    row, yardstick = rows.get(variant), rows.get(YARDSTICK)
    if row is None or yardstick is None or not row.all_cpu_us or not row.gateway_cpu_us or not yardstick.all_cpu_us:
        return ""
    others = row.all_cpu_us - row.gateway_cpu_us
    return (
        f"Of {row.all_cpu_us:.0f} µs {row.gateway_cpu_us:.0f} are the gateway's. The other {others:.0f} go into reading, "
        f"pricing, compressing, indexing and storing a record, which nginx does not make: "
        f"{others / yardstick.all_cpu_us:.1f} times what it takes for the whole request."
    )


def explain_bytes(kind: Kind) -> str:
    """Say what the stored bytes of a request are."""
    parts = sorted(kind.parts.items(), key=lambda part: -part[1])
    named = ", ".join(f"{name} {size / kind.requests:.0f}" for name, size in parts)
    raw = f" Both bodies are {kind.raw_bytes / kind.requests:.0f} bytes raw." if kind.raw_bytes else ""
    return f"Bytes of a request: {named}.{raw}" if named else ""


def _beside_the_least(rows: dict[str, Row], variant: str, workload: Workload) -> Iterator[str]:
    row, least = rows.get(variant), rows.get(LEAST)
    if row is None or least is None or not row.gateway_cpu_us or not least.gateway_cpu_us:
        return
    beside = "" if least.gateway_ratio is None else f", {least.gateway_ratio:.2f} x nginx"
    yield (
        f"A relay of the same loop and parser that looks at no key and keeps nothing (`{LEAST}`) takes "
        f"{least.gateway_cpu_us:.0f} µs per {workload.unit}{beside}; "
        f"all that Glassline does takes {row.gateway_cpu_us - least.gateway_cpu_us:.0f} µs more."
    )


def _shares(results: Results, rows: dict[str, Row], workload: Workload, variant: str) -> Iterator[str]:
    """Say whose the time is, where the run was profiled."""
    profiles = {profile.variant: profile for profile in results.profiles if profile.workload == workload.title}
    row, profile = rows.get(variant), profiles.get(variant)
    if row is None or profile is None or not row.gateway_cpu_us:
        return
    kernel, interpreter = (_percent(profile.libraries, name) for name in ("[kernel", "libpython"))
    if not interpreter:  # linked into the program
        interpreter = _percent(profile.libraries, "python")
    kernel_us, interpreter_us = (row.gateway_cpu_us * percent / 100 for percent in (kernel, interpreter))
    yield (
        f"Of its {row.gateway_cpu_us:.0f} µs {kernel_us:.0f} are the kernel's, {interpreter_us:.0f} the interpreter's "
        f"and {row.gateway_cpu_us - kernel_us - interpreter_us:.0f} those of libraries."
    )
    yardstick, theirs = rows.get(YARDSTICK), profiles.get(YARDSTICK)
    if yardstick is not None and theirs is not None and yardstick.gateway_cpu_us:
        share = _percent(theirs.libraries, "[kernel")
        yield f"Of nginx's {yardstick.gateway_cpu_us:.0f} µs the kernel's are {yardstick.gateway_cpu_us * share / 100:.0f}."


def _percent(shares: list[Share], name: str) -> float:
    return sum(share.percent for share in shares if share.name.startswith(name))
