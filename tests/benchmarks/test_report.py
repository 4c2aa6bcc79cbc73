"""What the benchmark makes of its samples, and that a run comes to a page and an exit code."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.measure import CLOSED_LOOP, LoadResult, Quantiles, Sample
from benchmarks.report import Circumstances, gateway_ratio, markdown, summarise, text_table
from benchmarks.run import judge, read_plan

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
) -> Sample:
    quantiles = Quantiles(
        count=10, mean=p50_us, p50=p50_us, p90=p50_us, p99=p50_us * 3, p999=p50_us * 4, max=p50_us * 5
    )
    load = LoadResult(
        requests=10, finished=10, seconds=1, requests_per_second=10, chunks=0, chunks_per_second=0, reconnects=0,
        latency_us=quantiles, first_byte_us=quantiles, chunk_delay_us=quantiles,
        error_kinds={}, errors=errors, first_error="status 429" if errors else "",
    )  # fmt: skip
    return Sample(
        variant=variant, workload=CLOSED_LOOP.name, round=round_number, load=load,
        gateway_cpu_us=cpu_us, all_cpu_us=cpu_us and cpu_us * 2, gateway_waited=0.1,
        recorded=recorded, catch_up_seconds=None if recorded is None else 1.5,
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
    alone = [sample for sample in SLOW_SECOND_ROUND if sample.variant == "glassline"]
    assert gateway_ratio(alone, "glassline") is None
    assert gateway_ratio(SLOW_SECOND_ROUND, "glassline") == pytest.approx(2.1)


def test_the_page_says_the_ratio_and_every_record() -> None:
    page = markdown(SLOW_SECOND_ROUND, [], ABOUT, 3.0)
    assert "**2.10 times** the CPU of nginx, within the 3 times" in page
    assert "Of 30 requests sent through Glassline 30 were recorded" in page
    assert "trust none of this" not in page


def test_the_page_hides_no_failure() -> None:
    samples = [*SLOW_SECOND_ROUND, _sample("glassline", 4, 90, errors=2, recorded=7)]
    page = markdown(samples, [], ABOUT, 2.0)
    assert "**2.10 times** the CPU of nginx, beyond the 2 times" in page
    assert "- round 4, closed_loop, glassline: 2 errors in 10 requests: status 429" in page
    assert "- round 4, closed_loop, glassline: 10 requests sent, 7 recorded" in page


def test_the_columns_of_the_text_table_line_up() -> None:
    _, *lines = text_table(summarise(SLOW_SECOND_ROUND, CLOSED_LOOP), CLOSED_LOOP).splitlines()
    assert len({len(line) for line in lines}) == 1


@pytest.mark.parametrize(
    ("samples", "arguments", "code"),
    [
        (SLOW_SECOND_ROUND, [], 0),
        (SLOW_SECOND_ROUND, ["--check-ratio", "2.2"], 0),
        (SLOW_SECOND_ROUND, ["--check-ratio", "2.0"], 1),
        (SLOW_SECOND_ROUND[3:], ["--check-ratio", "3.0"], 1),
        ([_sample("glassline", 1, 100, errors=1, recorded=10)], [], 1),
        ([_sample("glassline", 1, 100, recorded=9)], [], 1),
        ([_sample("glassline", 1, 100, recorded=11)], [], 1),
    ],
)
def test_the_exit_code_judges_the_run(samples: list[Sample], arguments: list[str], code: int) -> None:
    assert judge(read_plan(arguments), samples) == code


def test_a_quick_run_leaves_the_published_page_alone() -> None:
    assert read_plan([]).page == ROOT / "docs" / "performance.md"
    assert read_plan(["--quick"]).page == ROOT / "benchmarks" / "build" / "performance.md"


def test_the_script_runs_as_a_file_and_writes_its_page_and_samples(tmp_path: Path) -> None:
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        pytest.skip("no C compiler on this machine: the benchmark programs cannot be built")
    command = [sys.executable, "benchmarks/run.py", "--proxies", "direct", "--rounds", "1", "--seconds", "0.2"]
    command += ["--workloads", "closed_loop", "--build", str(tmp_path), "--page", str(tmp_path / "page.md")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "| direct | - | - |" in (tmp_path / "page.md").read_text()
    (sample,) = json.loads((tmp_path / "latest.json").read_text())["samples"]
    assert sample["load"]["errors"] == 0
    assert sample["load"]["finished"] > 100
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []
