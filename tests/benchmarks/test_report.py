"""What the benchmark makes of its samples, and that a run comes to a page and an exit code."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

from benchmarks.elsewhere import Elsewhere, Kind, Questions, read_elsewhere
from benchmarks.footprint import Delays, Footprint
from benchmarks.hotspots import Share
from benchmarks.load import LoadResult, Quantiles
from benchmarks.measure import Sample
from benchmarks.report import draw_plots, markdown
from benchmarks.results import Circumstances, Profile, Results
from benchmarks.run import LIMITS, judge, read_plan
from benchmarks.scaling import Step
from benchmarks.summary import efficiency, summarise
from benchmarks.targets import judge_targets
from benchmarks.workloads import CLOSED_LOOP, SHORT_STREAMS, Workload

ROOT = Path(__file__).resolve().parents[2]
ABOUT = Circumstances(
    machine={"CPU": "one"},
    commit="c0ffee",
    date="today",
    rounds=3,
    seconds=2,
    nice=0,
    cores="all on 0",
    load_before=0.0,
    load_after=0.0,
    versions={},
)


def _sample(
    variant: str,
    round_number: int,
    cpu_us: float | None,
    p50_us: float = 100,
    errors: int = 0,
    recorded: int | None = None,
    workload: Workload = CLOSED_LOOP,
    wrong_records: tuple[str, ...] = (),
) -> Sample:
    quantiles = Quantiles(
        count=10, mean=p50_us, p50=p50_us, p90=p50_us, p99=p50_us * 3, p999=p50_us * 4, max=p50_us * 5
    )
    load = LoadResult(
        requests=10, finished=10, seconds=1, requests_per_second=10, chunks=0, chunks_per_second=0, reconnects=0,
        first_nonce="0" * 16,
        latency_us=quantiles, first_byte_us=quantiles, chunk_delay_us=quantiles,
        error_kinds={}, errors=errors, first_error="status 429" if errors else "",
    )  # fmt: skip
    return Sample(
        variant=variant, workload=workload.name, round=round_number, load=load,
        gateway_cpu_us=cpu_us, all_cpu_us=cpu_us and cpu_us * 2, gateway_waited=0.1,
        recorded=recorded, catch_up_seconds=None if recorded is None else 1.5,
        wrong_records=list(wrong_records),
    )  # fmt: skip


SLOW_SECOND_ROUND = [
    _sample("nginx", 1, 50, p50_us=300),
    _sample("nginx", 2, 200, p50_us=900),
    _sample("nginx", 3, 40, p50_us=300),
    _sample("glassline", 1, 100, p50_us=400, recorded=10),
    _sample("glassline", 2, 440, p50_us=1500, recorded=10),
    _sample("glassline", 3, 84, p50_us=410, recorded=10),
    _sample("direct", 1, None, p50_us=100),
    _sample("direct", 2, None, p50_us=500),
    _sample("direct", 3, None, p50_us=110),
]


def test_a_ratio_is_taken_within_the_round_so_that_a_slow_round_does_not_count() -> None:
    nginx, glassline, direct = summarise(SLOW_SECOND_ROUND, CLOSED_LOOP)
    assert (nginx.gateway_cpu_us, nginx.gateway_ratio) == (50, 1)
    assert (glassline.gateway_cpu_us, glassline.gateway_ratio, glassline.all_ratio) == (100, 2.1, 2.1)
    assert (direct.gateway_cpu_us, direct.gateway_ratio, direct.added_p50_us) == (None, None, None)


def test_added_latency_is_against_the_same_round_without_a_proxy() -> None:
    nginx, glassline, _ = summarise(SLOW_SECOND_ROUND, CLOSED_LOOP)
    assert (nginx.added_p50_us, nginx.added_p99_us) == (200, 600)
    assert glassline.added_p50_us == 300


def test_without_nginx_there_is_no_ratio() -> None:
    (glassline,) = summarise([sample for sample in SLOW_SECOND_ROUND if sample.variant == "glassline"], CLOSED_LOOP)
    assert (glassline.gateway_ratio, glassline.all_ratio) == (None, None)


def test_requests_per_cpu_second_are_compared_over_all_processes() -> None:
    samples = [*SLOW_SECOND_ROUND, *(_sample("litellm", number, 10_000) for number in (1, 2, 3))]
    assert efficiency(samples, "glassline", "litellm") == 100
    assert efficiency(samples, "glassline", "portkey") is None


CORPUS = '{"agent": {"requests": 10, "total_bytes": 1000, "ratio": 31.2, "more": 1}}'
ELSEWHERE = Elsewhere(
    corpus={"agent": Kind(10, 1000, 31.2)}, questions=Questions(5_000_000, 60.5, 103.0, 57.0, 9.2, 4.3)
)
FOOTPRINT = Footprint(
    start_seconds=[0.8, 1.6, 0.9],
    idle_bytes={"gl-gateway-0": 100_000_000, "gl-admin": 90_000_000},
    streams=1000,
    stream_bytes=30_000,
    growth_requests=1000,
    growth_bytes_per_million=1_500_000,
    visible=Delays(100, 0.02, 0.08, 0.3),
    installed_bytes=100_000_000,
    packages=26,
    errors=[],
)


def _step(gateways: int, rate: float, round_number: int = 1, errors: tuple[str, ...] = ()) -> Step:
    return Step(
        gateways=gateways, round=round_number, requests_per_second=rate, cpu_us=100, connections=[60, 68][:gateways],
        busy=[1.0] * gateways, errors=list(errors),
    )  # fmt: skip


def _results(samples: list[Sample], **more: Any) -> Results:
    return Results(about=ABOUT, samples=samples, **more)


def _verdicts(results: Results) -> dict[str, tuple[str, bool | None]]:
    return {verdict.work: (verdict.seen, verdict.is_met) for verdict in judge_targets(results)}


def test_a_target_is_met_missed_or_not_measured() -> None:
    verdicts = _verdicts(_results(SLOW_SECOND_ROUND, footprint=FOOTPRINT, elsewhere=ELSEWHERE))
    assert verdicts["CPU per 1 KB request, gateway process"] == ("2.10 x", True)
    assert verdicts["CPU per 1 KB request, gateway process, with a budget"] == ("not measured", None)
    assert verdicts["requests/s, 1 KB prompts, one gateway core"] == ("10", False)
    assert verdicts["memory of all processes, idle"] == ("190.0 MB", False)
    assert verdicts["cold start to ready"] == ("0.90 s", True)
    assert verdicts["runtime packages, indirect ones included"] == ("26", False)
    assert verdicts["record visible in the API at 1,000 requests/s, p99"] == ("80.00 ms", True)
    assert verdicts["stored bytes of bodies, agent corpus"] == ("31.2 x", True)
    assert verdicts["list, filter, sort a page, p95"] == ("60.5 ms at 5,000,000; slowest list 103 ms", False)
    assert verdicts["full-text search, p95"] == ("57.0 ms at 5,000,000", True)
    assert verdicts["stored bytes, 1 KB chats, rows and indexes included"] == ("not measured", None)


def test_a_target_that_is_missed_says_what_its_figure_consists_of() -> None:
    samples = [
        *(_sample("nginx", number, 50) for number in (1, 2, 3)),
        *(_sample("bare", number, 75) for number in (1, 2, 3)),
        *(_sample("glassline", number, 200, recorded=10) for number in (1, 2, 3)),
    ]
    shares = {
        "nginx": [Share(80, "[kernel.kallsyms]")],
        "glassline": [Share(30, "[kernel.kallsyms]"), Share(50, "libpython3.11.so")],
    }
    profiles = [Profile(name, CLOSED_LOOP.title, libraries, []) for name, libraries in shares.items()]
    chat = Kind(10, 20_480, 1.5, 19_000, {"rows": 12_000, "words": 2650})
    results = _results(samples, profiles=profiles, elsewhere=Elsewhere(corpus={"chat": chat}))
    why = {verdict.work: verdict.why for verdict in judge_targets(results)}
    gateway = why["CPU per 1 KB request, gateway process"]
    assert "(`bare`) takes 75 µs per request, 1.50 x nginx; all that Glassline does takes 125 µs more." in gateway
    assert "Of its 200 µs 60 are the kernel's, 100 the interpreter's and 40 those of libraries." in gateway
    assert "Of nginx's 50 µs the kernel's are 40." in gateway
    assert "The other 200 go into" in why["CPU per 1 KB request, all processes"]
    stored = why["stored bytes, 1 KB chats, rows and indexes included"]
    assert stored == "Bytes of a request: rows 1200, words 265. Both bodies are 1900 bytes raw."
    assert f"- CPU per 1 KB request, gateway process: {gateway}" in markdown(results)


def test_of_a_target_that_is_met_nothing_needs_to_be_explained() -> None:
    assert "- CPU per 1 KB request, gateway process:" not in markdown(_results(SLOW_SECOND_ROUND))


def test_what_is_demanded_with_and_without_a_budget_must_hold_for_both() -> None:
    samples = [*SLOW_SECOND_ROUND, *(_sample("glassline+budget", number, 400) for number in (1, 2, 3))]
    assert _verdicts(_results(samples))["CPU per 1 KB request, all processes"] == (
        "2.10 x, 8.00 x with a budget",
        False,
    )


def test_several_gateways_are_compared_with_one_in_the_same_round() -> None:
    steps = [_step(1, 1000), _step(2, 1900), _step(1, 500, 2), _step(2, 930, 2), _step(3, 1200, 2)]
    verdicts = _verdicts(_results([], scaling=steps))
    by_cpu = "by the gateways' CPU time per request"
    assert verdicts["requests/s of 2 gateways against one"] == (f"1.88 x; 2.00 x {by_cpu}", True)
    assert verdicts["requests/s of 3 gateways against one"] == (f"2.40 x; 3.00 x {by_cpu}", False)


def test_the_page_says_every_target_and_every_record() -> None:
    page = markdown(_results(SLOW_SECOND_ROUND, footprint=FOOTPRINT, scaling=[_step(1, 1000), _step(2, 1900)]))
    assert "| CPU per 1 KB request, gateway process | ≤ 2.2 x nginx | 2.10 x | yes |" in page
    assert "| requests/s, 1 KB prompts, one gateway core | ≥ 6,000 | 10 | **no** |" in page
    assert "| full-text search, p95 | ≤ 150 ms at 5,000,000 rows | not measured | not measured |" in page
    assert "Of 30 requests sent through Glassline 30 were recorded" in page
    assert "trust none of this" not in page


def test_the_page_shows_every_picture_that_is_drawn() -> None:
    results = _results(SLOW_SECOND_ROUND)
    pictures = draw_plots(results)
    assert pictures.keys() == {"cpu-requests.svg", "efficiency.svg"}
    assert ElementTree.fromstring(pictures["cpu-requests.svg"]).tag.endswith("svg")  # noqa: S314  our own
    assert "](performance/cpu-requests.svg)" in markdown(results)


def test_the_page_hides_no_failure() -> None:
    samples = [
        *SLOW_SECOND_ROUND,
        _sample("glassline", 4, 90, errors=2, recorded=7, wrong_records=("record 8: other",)),
    ]
    page = markdown(_results(samples, scaling=[_step(2, 10, errors=("2 gateways, round 1: status 500",))]))
    assert "- round 4, closed_loop, glassline: 2 errors in 10 requests: status 429" in page
    assert "- round 4, closed_loop, glassline: 10 requests sent, 7 recorded" in page
    assert "- round 4, closed_loop, glassline: record 8: other" in page
    assert "- 2 gateways, round 1: status 500" in page


def test_figures_of_other_benchmarks_are_taken_over_where_they_have_run(tmp_path: Path) -> None:
    assert read_elsewhere(tmp_path) == Elsewhere()
    (tmp_path / "corpus.json").write_text(CORPUS)
    (tmp_path / "queries.json").write_bytes(
        msgspec.json.encode({**msgspec.to_builtins(ELSEWHERE.questions), "all": {}})
    )
    assert read_elsewhere(tmp_path) == ELSEWHERE


def _costing(gateway: float, everything: float = 0) -> list[Sample]:
    """One round in which each limit is kept but for so much more in what the first variant costs."""
    samples = [_sample("nginx", 1, 10, workload=workload) for workload in (CLOSED_LOOP, SHORT_STREAMS)]
    for more, limit in zip([1, 0, 0], LIMITS, strict=True):
        sample = _sample(limit.variant, 1, 10 * (limit.gateway + gateway * more), recorded=10, workload=limit.workload)
        all_cpu_us = 20 * (limit.everything + everything * more)
        samples.append(msgspec.structs.replace(sample, all_cpu_us=all_cpu_us))
    return samples


@pytest.mark.parametrize(
    ("samples", "arguments", "code"),
    [
        (SLOW_SECOND_ROUND, [], 0),
        (SLOW_SECOND_ROUND, ["--quick"], 1),
        (_costing(0), ["--quick"], 0),
        (_costing(0.1), ["--quick"], 1),
        (_costing(0.1), [], 0),
        (_costing(0, 0.1), ["--quick"], 1),
        (_costing(0)[2:], ["--quick"], 1),
        (_costing(0)[:-1], ["--quick"], 1),
        ([_sample("glassline", 1, 100, errors=1, recorded=10)], [], 1),
        ([_sample("glassline", 1, 100, recorded=9)], [], 1),
        ([_sample("glassline", 1, 100, recorded=11)], [], 1),
        ([_sample("glassline", 1, 100, recorded=10, wrong_records=("other",))], [], 1),
    ],
)
def test_the_exit_code_judges_the_run(samples: list[Sample], arguments: list[str], code: int) -> None:
    assert judge(read_plan(arguments), _results(samples)) == code


def test_a_quick_run_leaves_the_published_page_alone() -> None:
    assert read_plan([]).page == ROOT / "docs" / "performance.md"
    assert read_plan(["--quick"]).page == ROOT / "benchmarks" / "build" / "performance.md"


def test_the_script_runs_as_a_file_and_writes_its_page_and_samples(tmp_path: Path) -> None:
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        pytest.skip("no C compiler on this machine: the benchmark programs cannot be built")
    command = [sys.executable, "benchmarks/run.py", "--proxies", "direct", "bare", "--rounds", "1", "--seconds", "0.2"]
    command += ["--workloads", "closed_loop", "--beside", "--build", str(tmp_path), "--page", str(tmp_path / "page.md")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "| direct | - | - |" in (tmp_path / "page.md").read_text()
    samples = json.loads((tmp_path / "latest.json").read_text())["samples"]
    assert {sample["variant"] for sample in samples} == {"direct", "bare"}
    for sample in samples:
        assert sample["load"]["errors"] == 0
        assert sample["load"]["finished"] > 100
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["page"]
    (tmp_path / "corpus.json").write_text(CORPUS)
    done = subprocess.run([*command, "--render"], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        "| stored bytes of bodies, agent corpus | ≥ 25 x smaller | 31.2 x | yes |" in (tmp_path / "page.md").read_text()
    )
