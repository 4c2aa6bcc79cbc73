"""What the recorder spends on an exchange: CPU per record, folding a journal of each kind of traffic.

    python benchmarks/recorder.py                      this tree
    python benchmarks/recorder.py --against DIRECTORY  another checkout beside it, in turns
    python benchmarks/recorder.py --profile chat_1k    where the time goes

The journals are made here, byte for byte what a gateway appends for such traffic, and every measurement folds a copy
into an empty store in a process of its own. `batch` is how much is read at once: 256 KB is a recorder that has a
backlog, 32 KB one that keeps up with a thousand requests a second.
"""

import argparse
import cProfile
import gc
import json
import os
import pstats
import random
import shutil
import sqlite3
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUEST_HEADERS = (
    (b"host", b"127.0.0.1:8787"),
    (b"authorization", b"Bearer ***"),
    (b"accept", b"application/json"),
    (b"content-type", b"application/json"),
    (b"user-agent", b"OpenAI/Python 2.8.1"),
    (b"x-stainless-lang", b"python"),
    (b"x-stainless-retry-count", b"0"),
)
RESPONSE_HEAD = b"Content-Type: %b\r\nX-Request-Id: req_0123456789abcdef\r\nOpenAI-Processing-Ms: 312\r\n"
WORDS = Path(__file__).read_text().split()
BATCHES = (256, 32)
Make = Callable[[random.Random], tuple[bytes, bytes, bytes]]


def main() -> None:
    """Measure, or be the process that is measured."""
    options = _options()
    if options.fold:
        print(json.dumps(fold(Path(options.fold), options.batch, options.profile)))
        return
    with tempfile.TemporaryDirectory(prefix="glassline-recorder-") as name:
        kinds = [options.profile] if options.profile else options.kinds or list(KINDS)
        for kind in kinds:
            make_journal(Path(name) / kind / "journal", kind, options.count)
        if options.profile:
            print(_measure(ROOT, Path(name) / options.profile, BATCHES[0], "--profile", options.profile))
        else:
            _compare(Path(name), kinds, options)


def fold(directory: Path, batch_kb: int, profile: str | None = None) -> dict[str, float]:
    """Fold the journal in `directory`; return CPU µs for each exchange and bytes stored."""
    from proxy.config import Config
    from proxy.config.prices import price_book
    from proxy.ledger.client import SyncLedgerClient
    from proxy.recorder import recorder as module
    from proxy.recorder.bills import Bills
    from proxy.recorder.interpret import Interpreter
    from proxy.store import SqliteStore

    module.POLL_BYTES = batch_kb * 1024  # type: ignore[misc]
    config = Config()
    store = SqliteStore(directory / "records.db")
    meaning = Interpreter(price_book(config.pricing), config, Bills(store.bills), secret=b"benchmark")
    ledger = SyncLedgerClient(directory / "no-ledger.sock")
    recorder = module.Recorder(directory / "journal", store, meaning, ledger, config, stop=threading.Event())
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)  # as in the recorder's process
    profiler = cProfile.Profile() if profile else None
    if profiler:
        profiler.enable()
    start = time.process_time()
    while recorder.step():
        pass
    spent = time.process_time() - start
    if profiler:
        profiler.disable()
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(45)
    recorder.close()
    with closing(sqlite3.connect(directory / "records.db")) as database:
        count: int = database.execute("SELECT count(*) FROM exchanges").fetchone()[0]
    size = (directory / "records.db").stat().st_size
    return {"us": spent / count * 1e6, "count": count, "bytes": size / count}


def make_journal(directory: Path, kind: str, count: int) -> None:
    """Write the journal of `count` exchanges of a kind, by a writer that has ended."""
    from proxy.journal import JournalWriter
    from proxy.records import Begin, End

    rng = random.Random(kind)
    writer = JournalWriter(directory, "gateway")
    count = max(50, count // DIVISORS.get(kind, 1))
    now = int(time.time() * 1000) - count
    for number in range(count):
        request, response, times = KINDS[kind](rng)
        content_type = b"text/event-stream" if times else b"application/json"
        begin = Begin(
            id=str(uuid.UUID(int=now + number << 80 | 7 << 76 | rng.getrandbits(76))),
            started_at_ms=now + number,
            upstream="openai",
            wire="openai",
            provider="openai",
            is_free=False,
            method="POST",
            path="/chat/completions",
            headers=REQUEST_HEADERS,
            key=f"team-{number // 8 % 5}",
        )
        end = End(
            outcome="completed",
            status=200,
            head=RESPONSE_HEAD % content_type + (b"" if times else b"Content-Length: %d\r\n" % len(response)),
            request_size=len(request),
            response_size=len(response),
            times=times or struct.pack("<QQ", len(response), 312_000),
            request_complete_us=40,
            dispatched_us=110,
            response_head_us=311_900,
            ended_us=312_100 + rng.randrange(1000),
            overhead_us=200,
        )
        writer.end(writer.begin(begin, request), end, response)
    writer.close()


def _chat(size: int) -> Make:
    def make(rng: random.Random) -> tuple[bytes, bytes, bytes]:
        messages = [{"role": "system", "content": "You are a helpful assistant."}]
        while len(json.dumps(messages)) < size - 120:
            missing = min(4000, size - 120 - len(json.dumps(messages)))
            messages.append({"role": "user", "content": _text(rng, max(20, missing))})
        request = {"model": "gpt-4o-mini", "messages": messages, "temperature": 0.2, "max_tokens": 400}
        return json.dumps(request).encode(), _completion(rng, 500), b""

    return make


def _turns(length: int) -> Make:
    """Conversations of `length` turns, one after the other: each request says all that was said before."""
    said: list[dict[str, str]] = []

    def make(rng: random.Random) -> tuple[bytes, bytes, bytes]:
        if len(said) >= 2 * length:
            said.clear()
        said.append({"role": "user", "content": _text(rng, 200)})
        request = {"model": "gpt-4o-mini", "messages": said, "temperature": 0.2}
        response = _completion(rng, 500)
        said.append({"role": "assistant", "content": json.loads(response)["choices"][0]["message"]["content"]})
        return json.dumps(request | {"messages": said[:-1]}).encode(), response, b""

    return make


def _stream(rng: random.Random) -> tuple[bytes, bytes, bytes]:
    request = {"model": "gpt-4o-mini", "stream": True, "messages": [{"role": "user", "content": _text(rng, 800)}]}
    id_ = f"chatcmpl-{rng.getrandbits(96):024x}"
    frame = {"id": id_, "object": "chat.completion.chunk", "created": 1763683200, "model": "gpt-4o-mini-2024-07-18"}
    deltas = [{"content": f" {rng.choice(WORDS)}"} for _ in range(100)]
    chunks = [frame | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append(frame | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    usage = {"prompt_tokens": 187, "completion_tokens": 100, "total_tokens": 287}
    chunks.append(frame | {"choices": [], "usage": usage})
    events = [b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chunks] + [b"data: [DONE]\n\n"]
    ends = [sum(map(len, events[: index + 1])) for index in range(len(events))]
    times = b"".join(struct.pack("<QQ", end, 200_000 + 20_000 * index) for index, end in enumerate(ends))
    return json.dumps(request).encode(), b"".join(events), times


def _completion(rng: random.Random, size: int) -> bytes:
    message: dict[str, object] = {"role": "assistant", "content": _text(rng, size), "refusal": None, "annotations": []}
    input_details = {"cached_tokens": 0, "audio_tokens": 0}
    predictions = {"accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}
    answer = {
        "id": f"chatcmpl-{rng.getrandbits(96):024x}",
        "object": "chat.completion",
        "created": 1763683200,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": rng.randrange(100, 300),
            "completion_tokens": rng.randrange(50, 200),
            "total_tokens": 500,
            "prompt_tokens_details": input_details,
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0} | predictions,
        },
        "service_tier": "default",
        "system_fingerprint": "fp_0000bench0",
    }
    return json.dumps(answer).encode()


def _text(rng: random.Random, size: int) -> str:
    words: list[str] = []
    while sum(map(len, words)) + len(words) < size:
        words.append(rng.choice(WORDS))
    return " ".join(words)[:size]


KINDS: dict[str, Make] = {
    "chat_1k": _chat(1000),
    "chat_4k": _chat(4000),
    "chat_50k": _chat(50_000),
    "stream_100": _stream,
    "turns_8": _turns(8),
}
DIVISORS = {"chat_4k": 2, "chat_50k": 10, "stream_100": 4, "turns_8": 2}
"How many times fewer exchanges a kind gets, so that each takes about as long."


def _compare(folder: Path, kinds: list[str], options: argparse.Namespace) -> None:
    trees = {"this": ROOT} | ({"other": Path(options.against).resolve()} if options.against else {})
    print(f"{'kind':12} {'batch':>7} " + " ".join(f"{name + ' µs':>10} {'bytes':>7}" for name in trees))
    for kind in kinds:
        for batch in BATCHES:
            found: dict[str, list[dict[str, float]]] = {name: [] for name in trees}
            for _ in range(options.rounds):
                for name, tree in trees.items():
                    found[name].append(json.loads(_measure(tree, folder / kind, batch)))
            cells = [
                f"{statistics.median(each['us'] for each in runs):10.1f} {runs[0]['bytes']:7.0f}"
                for runs in found.values()
            ]
            print(f"{kind:12} {batch:4} KB " + " ".join(cells), flush=True)


def _measure(tree: Path, source: Path, batch: int, *more: str) -> str:
    with tempfile.TemporaryDirectory(dir=source.parent) as name:
        shutil.copytree(source, name, dirs_exist_ok=True)
        command = [sys.executable, str(Path(__file__).resolve()), "--fold", name, "--batch", str(batch), *more]
        environment = os.environ | {"PYTHONPATH": str(tree)}
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=tree, env=environment)
        return done.stdout


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kinds", nargs="*", choices=[[], *KINDS])
    parser.add_argument("--count", type=int, default=4000, help="exchanges of the smallest kind")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", help="another checkout, measured in turns with this one")
    parser.add_argument("--profile", choices=list(KINDS), help="print where the time of one kind goes")
    parser.add_argument("--fold", help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, default=BATCHES[0], help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    if not any(argument == "--fold" for argument in sys.argv):
        sys.path.insert(0, str(ROOT))
    main()
