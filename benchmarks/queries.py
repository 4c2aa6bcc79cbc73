"""How long the store takes to answer: fills a database with made-up requests and asks everything a person can ask.

    python -m benchmarks.queries --rows 5000000

Every question is asked in turn, round after round, so that none has a better machine than another. The times are of the
reader's own thread: SQL and rows, no HTTP. Rows, sums and words are written by the store's own writers; requests have no
bodies. Writes `benchmarks/build/queries.json`.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

from proxy.databases import open_database
from proxy.store import SqliteStore, StoreReader, query
from proxy.store.filter import parse_filter, started
from proxy.store.listing import Cursor, Sort
from proxy.store.overview import overview
from proxy.store.query import Plan, Query
from proxy.store.rollups import Rollups
from proxy.store.words import Words
from proxy.store.zones import ZoneWriter

T = TypeVar("T")

BUILD: Final = Path(__file__).parent / "build"
END_MS: Final = 1_790_000_000_000
DAYS: Final = 90
DAY_MS: Final = 86_400_000
BATCH: Final = 512
USAGE: Final = (
    '{"prompt_tokens":1200,"completion_tokens":140,"total_tokens":1340,"prompt_tokens_details":{"cached_tokens":0}}'
)
BUCKETS: Final = '{"input_uncached":1200,"cache_read":0,"output_text":140,"output_reasoning":null}'
COMPONENTS: Final = '{"input_uncached":150000,"output_text":60000}'
QUESTIONS: Final = (
    ("newest", "", "-time"),
    ("oldest", "", "time"),
    ("a common key", "key:key-01", "-time"),
    ("a rare key", "key:rare", "-time"),
    ("a key that does not exist", "key:nobody", "-time"),
    ("not a key", "-key:key-01", "-time"),
    ("two keys", "key:(key-07 OR rare)", "-time"),
    ("keys by their beginning", "key:key-1*", "-time"),
    ("a common model", "model:model-01", "-time"),
    ("a rare model", "model:model-rare", "-time"),
    ("an upstream", "upstream:groq", "-time"),
    ("a provider", "provider:anthropic", "-time"),
    ("an endpoint", "endpoint:embeddings", "-time"),
    ("an outcome", "outcome:timeout", "-time"),
    ("not completed", "-outcome:completed", "-time"),
    ("errors", "status:>=400", "-time"),
    ("server errors", "status:5xx", "-time"),
    ("an error code", "error:context_length_exceeded", "-time"),
    ("any error", "has:error", "-time"),
    ("dear", "cost:>$1", "-time"),
    ("cheap", "cost:<$0.000001", "-time"),
    ("slow", "latency:>2m", "-time"),
    ("between two latencies", "latency:1s..2s", "-time"),
    ("many tokens", "tokens:>100k", "-time"),
    ("a user", "user:user-01234", "-time"),
    ("a busy user", "user:robot", "-time"),
    ("a session", "session:session-0001234", "-time"),
    ("a tag", "meta.team:team-3", "-time"),
    ("a rare tag", "meta.feature:beta", "-time"),
    ("an environment", "environment:staging", "-time"),
    ("a prompt's version", "prompt:greeting@7", "-time"),
    ("unpriced", "unpriced:true", "-time"),
    ("a key, a model and errors", "key:key-02 model:model-03 status:>=400", "-time"),
    ("either of two things", "(status:5xx OR latency:>1m) -key:key-01", "-time"),
    ("dearest", "", "-cost"),
    ("cheapest", "", "cost"),
    ("slowest", "", "-latency"),
    ("fastest", "", "latency"),
    ("longest to the first token", "", "-ttft"),
    ("shortest to the first token", "", "ttft"),
    ("most tokens", "", "-tokens"),
    ("fewest tokens", "", "tokens"),
    ("dearest of a key", "key:key-02", "-cost"),
    ("slowest errors", "status:>=400", "-latency"),
)
"""Name, filter, order."""
SPANS: Final = (("slowest of a day", "", "-latency", 1), ("dearest of a week", "", "-cost", 7))
WORDS: Final = (
    ("a word of half of all", "the"),
    ("a common word", "word0007"),
    ("a rare word", "word3999"),
    ("a word that nobody said", "zebra"),
    ("two words", "word0007 word0011"),
    ("a phrase", '"word0003 the"'),
    ("the beginning of words", "word39*"),
    ("a word and a key", "word0020 key:key-02"),
)
"""Name and filter; the newest are found first."""
SUMS: Final = ("cost", "overview")
VOCABULARY: Final = 4000
SAID: Final = 100
"""Words of a request and its answer: some 700 letters."""


def main(argv: list[str]) -> None:
    """Fill, ask, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument(
        "--path", type=Path, default=BUILD / "queries.db", help="kept, and used again when it has the rows"
    )
    parser.add_argument("--plans", action="store_true", help="print how SQLite answers each question")
    arguments = parser.parse_args(argv)
    for directory in (BUILD, arguments.path.parent):
        directory.mkdir(parents=True, exist_ok=True)
    fill(arguments.path, arguments.rows)
    with StoreReader(arguments.path, time_limit_s=60) as reader:
        lists, words, sums = ask_in_turn(reader, arguments.rounds)
    times = lists | words | sums
    print_table(times)
    report: dict[str, Any] = {"rows": arguments.rows, "bytes": sizes(arguments.path, arguments.rows)}
    report["questions"] = {name: summary(seen) for name, seen in times.items()}
    report["all"] = of_all(lists)
    report["p95_ms"] = report["all"]["p95_ms"]
    report["worst_p95_ms"] = max(summary(seen)["p95_ms"] for seen in lists.values())
    report["search_p95_ms"] = of_all(words)["p95_ms"]
    for name in SUMS:
        report[f"{name}_p95_ms"] = summary(sums[name])["p95_ms"]
    (BUILD / "queries.json").write_text(json.dumps(report, indent=1))
    print(json.dumps({name: value for name, value in report.items() if name != "questions"}, indent=1))
    if arguments.plans:
        print_plans(arguments.path)


def fill(path: Path, rows: int) -> None:
    """Write requests until there are `rows`."""
    with_schema = SqliteStore(path)
    with_schema.close()
    connection = open_database(path, "write")
    connection.pragma("synchronous", 0)
    ((found,),) = connection.execute("SELECT coalesce(max(seq), 0) FROM exchanges")
    zones, source = ZoneWriter(connection), made_up(int(str(found)), rows)
    rollups, words = Rollups(connection), Words(connection)
    chance, sql = random.Random(int(str(found))), ""
    while batch := [row for _, row in zip(range(BATCH), source, strict=False)]:
        if not sql:
            names = tuple(batch[0])
            sql = f"INSERT INTO exchanges ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608
        with connection:
            connection.executemany(sql, [tuple(row.values()) for row in batch])
            last = connection.last_insert_rowid()
            seqs = range(last - len(batch) + 1, last + 1)
            zones.learn()
            rollups.add(seqs)
            words.add((seq, made_up_text(chance), "") for seq in seqs)
    ((summed,),) = connection.execute("SELECT sum(requests) FROM rollups WHERE dimension = 'all' AND span = 'day'")
    ((said,),) = connection.execute("SELECT count(*) FROM texts_docsize")
    if {summed, said} != {rows}:
        raise SystemExit(f"{path}: {summed} of {rows} rows are in the sums and {said} in the index: delete it")
    connection.pragma("wal_checkpoint(truncate)")
    connection.close()


def made_up(first: int, rows: int) -> Iterator[dict[str, Any]]:
    """Yield requests of 90 days, in the order in which they ended."""
    chance = random.Random(first)
    keys = [f"key-{number:02}" for number in range(20)]
    models = [f"model-{number:02}" for number in range(15)]
    weights = [1 / (number + 1) for number in range(20)]
    for number in range(first, rows):
        duration_us = int(min(chance.lognormvariate(14.2, 1.1), 6e8))
        is_streamed = chance.random() < 0.6
        status, outcome, error = chance.choices(_ENDS, _END_WEIGHTS)[0]
        model = "model-rare" if number % 25_013 == 7 else chance.choices(models, weights[:15])[0]
        input_tokens = int(min(chance.lognormvariate(6.5, 1.3), 2e5))
        output_tokens = int(min(chance.lognormvariate(4.8, 1.2), 3e4)) if status == 200 else 0
        cost = (input_tokens * 150 + output_tokens * 600) * (1 + chance.choice((0, 0, 4, 30)))
        ended_ms = END_MS - DAYS * DAY_MS + number * DAYS * DAY_MS // max(rows, 5_000_000)
        is_priced = chance.random() > 0.002
        prompt = chance.choice(_PROMPTS)
        yield _TEMPLATE | {
            "id": f"{ended_ms:012x}-{number:08x}-7000-{chance.getrandbits(48):012x}"[:36],
            "started_at": ended_ms - duration_us // 1000,
            "key": "rare" if number % 83_003 == 5 else chance.choices(keys, weights)[0],
            "user": "robot" if chance.random() < 0.1 else f"user-{chance.randrange(50_000):05}",
            "session": f"session-{number // 40 * 2 + chance.randrange(2):07}" if chance.random() < 0.5 else None,
            "environment": chance.choices(("production", None, "staging"), (80, 19, 1))[0],
            "tags": _TAGS[chance.randrange(len(_TAGS))] if number % 50_021 else '{"feature":"beta"}',
            "upstream": chance.choices(("openai", "anthropic", "gemini", "groq"), (70, 25, 4.9, 0.1))[0],
            "provider": chance.choices(("openai", "anthropic", "gemini", "groq"), (70, 25, 4.9, 0.1))[0],
            "endpoint": chance.choices(("chat", "messages", "embeddings"), (74, 25.9, 0.1))[0],
            "prompt_name": prompt[0],
            "prompt_version": prompt[1],
            "status": status,
            "outcome": outcome,
            "error_code": error,
            "duration_us": duration_us,
            "first_token_us": duration_us // 4 if is_streamed else None,
            "streaming": int(is_streamed),
            "model_requested": model,
            "model": f"{model}-2026-08-01" if status == 200 else None,
            "input_tokens": input_tokens if status == 200 else None,
            "output_tokens": output_tokens if status == 200 else None,
            "cost_nano_usd": (cost if status == 200 else 0) if is_priced else None,
            "is_unpriced": int(not is_priced),
        }


def made_up_text(chance: random.Random) -> str:
    """Return words, of which the n-th is said n times less often than the first, as in languages."""
    ranks = (int(VOCABULARY ** chance.random()) for _ in range(SAID))
    return " ".join("the" if rank == 1 else f"word{rank:04}" for rank in ranks)


_ENDS: Final = (
    (200, "completed", None),
    (429, "completed", "rate_limit_exceeded"),
    (400, "completed", "context_length_exceeded"),
    (500, "completed", "server_error"),
    (200, "client_closed", None),
    (504, "timeout", "upstream_timeout"),
)
_END_WEIGHTS: Final = (97.0, 1.9, 0.004, 0.3, 0.7, 0.01)
_PROMPTS: Final = [(None, None)] * 20 + [("greeting", str(version)) for version in (5, 6, 6, 7)]
_TAGS: Final = ["{}"] * 8 + [f'{{"team":"team-{n % 8}","feature":"feature-{n}"}}' for n in range(30)]
_TEMPLATE: Final[dict[str, Any]] = {
    "wire": "openai",
    "method": "POST",
    "path": "/chat/completions",
    "attempt": 1,
    "mutated": "",
    "no_store": "",
    "request_bytes": 4200,
    "response_bytes": 900,
    "request_complete_us": 90,
    "dispatched_us": 150,
    "response_head_us": 400_000,
    "overhead_us": 250,
    "reader": "openai_chat/1",
    "response_id": "chatcmpl-BqYQ0Zq1Yx3n9WcB7aTn5c2m",
    "finish_reason": "stop",
    "finish_reasons": '["stop"]',
    "tool_calls": "[]",
    "problems": "",
    "usage": USAGE,
    "usage_buckets": BUCKETS,
    "usage_source": "provider",
    "cost_source": "table",
    "cost_model": "gpt-4o-mini",
    "cost_components": COMPONENTS,
    "price_version": "genai-prices 0.2.3",
    "is_reserved": 0,
    "settled_estimate": 0,
    "bodies_kept": 0,
    "is_free": 0,
    "privacy": "",
}


def questions() -> dict[str, Callable[[Cursor | None], Plan[query.Page]]]:
    """Return every question, by name: from the cursor of the page before to the next page."""
    asked: dict[str, Callable[[Cursor | None], Plan[query.Page]]] = {}
    for name, text, order in QUESTIONS:
        where, sort = parse_filter(text), Sort.parse(order)
        asked[name] = lambda after, where=where, sort=sort: query.page(where, sort=sort, after=after)  # type: ignore[misc]
    for name, _, order, days in SPANS:
        where, sort = started(from_ms=END_MS - 30 * DAY_MS, to_ms=END_MS - (30 - days) * DAY_MS), Sort.parse(order)
        asked[name] = lambda after, where=where, sort=sort: query.page(where, sort=sort, after=after)  # type: ignore[misc]
    return asked


Times = dict[str, list[float]]
"""Seconds that each question took, by name."""


def ask_in_turn(reader: StoreReader, rounds: int) -> tuple[Times, Times, Times]:
    """Ask everything, round after round: three pages of each list, one page of each search, the sums."""
    lists, words, sums = dict[str, list[float]](), dict[str, list[float]](), dict[str, list[float]]()
    for number in range(rounds + 1):
        seen: tuple[Times, Times, Times] = ({}, {}, {}) if number == 0 else (lists, words, sums)
        for name, ask in questions().items():
            cursor: Cursor | None = None
            for page_number in range(3):
                cursor = timed(reader, ask(cursor), seen[0], f"{name}, page {page_number + 1}").cursor
                if cursor is None:
                    break
        for name, text in WORDS:
            timed(reader, query.page(parse_filter(text)), seen[1], name)
        since = END_MS - DAYS * DAY_MS
        timed(reader, query.costs(("model", "day"), from_ms=since, to_ms=END_MS), seen[2], "cost")
        timed(reader, overview(END_MS - DAY_MS, END_MS), seen[2], "overview")
    return lists, words, sums


def timed(reader: StoreReader, asked: Query[T] | Plan[T], times: Times, name: str) -> T:
    """Ask, note how long it took, and return the answer. The first round, which reads the file, counts nowhere."""
    start = time.thread_time()
    answer = reader.run(asked)
    times.setdefault(name, []).append(time.thread_time() - start)
    return answer


def of_all(times: Times) -> dict[str, float]:
    """Return the middle and the 95th percentile over all questions."""
    return summary([seconds for seen in times.values() for seconds in seen])


def summary(seconds: list[float]) -> dict[str, float]:
    """Return the middle and the 95th percentile in ms."""
    ordered = sorted(seconds)
    return {
        "p50_ms": round(statistics.median(ordered) * 1000, 2),
        "p95_ms": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))] * 1000, 2),
    }


def print_table(times: dict[str, list[float]]) -> None:
    """Print each question, the slowest last."""
    for name, seen in sorted(times.items(), key=lambda item: summary(item[1])["p95_ms"]):
        print(f"{name:45} p50 {summary(seen)['p50_ms']:8.2f} ms   p95 {summary(seen)['p95_ms']:8.2f} ms")


def sizes(path: Path, rows: int) -> dict[str, float]:
    """Return the bytes that each table and index takes for one request."""
    connection = open_database(path, "read")
    found = connection.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC LIMIT 16").fetchall()
    connection.close()
    return {str(name): round(float(str(size)) / rows, 2) for name, size in found}


def print_plans(path: Path) -> None:
    """Print how SQLite answers each step of each question."""
    connection = open_database(path, "read")
    for name, ask in questions().items():
        print(f"\n{name}")
        steps = ask(None).steps()
        try:
            step = next(steps)
            while True:
                for row in connection.execute("EXPLAIN QUERY PLAN " + step[0], step[1]):
                    print("   ", row[3])
                step = steps.send(connection.execute(*step).fetchall())
        except StopIteration:
            continue


if __name__ == "__main__":
    main(sys.argv[1:])
