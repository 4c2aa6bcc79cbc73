"""What is asked of each proxy, and the request bodies with which it is asked."""

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SYSTEM_PROMPT = (
    "You are a careful assistant inside a support tool. Answer in at most three sentences, in the language of the "
    "question, and say so when the documents below do not hold the answer. Never guess a price, a date or a name. "
)
QUESTION = (
    "A customer asks what a reverse proxy adds to the time of a request, and how one would measure it without fooling "
    "oneself: which clock to read, what to compare with, how often to repeat, and what to make of a single slow run. "
)
NO_NONCE = "bench-" + "0" * 16
"what the load generator replaces by a number of each request's own"
SYLLABLES = ["ka", "lo", "mi", "ter", "sen", "va", "dor", "rin", "pel", "tu", "gra", "no", "bes", "chi", "ro", "lam"]


@dataclass(frozen=True, slots=True)
class Workload:
    name: str
    title: str
    connections: int
    rate: float = 0
    "requests per second, 0 for a closed loop"
    prompt_kb: int = 1
    "size of the request body"
    chunks: int = 0
    "events of each answer, 0 for one that is no stream"
    chunks_per_second: int = 0
    "of each stream"
    is_saturated: bool = False
    "more is offered than passes: its delays say how much more, and nothing else"

    @property
    def is_stream(self) -> bool:
        return self.chunks > 0

    @property
    def unit(self) -> str:
        return "chunk" if self.is_stream else "request"

    @property
    def ramp_seconds(self) -> float:
        """Over which the streams begin: the length of one, so that they do not end all at once."""
        return self.chunks / self.chunks_per_second if self.is_stream else 0

    def options(self, seconds: float) -> list[str]:
        """Return the load generator's options."""
        options = ["--connections", str(self.connections), "--seconds", str(seconds)]
        if self.rate:
            options += ["--rate", str(self.rate)]
        if self.is_stream:
            options += ["--stream", "--ramp", str(self.ramp_seconds)]
        return options


CLOSED_LOOP = Workload("closed_loop", "1 KB requests, closed loop, 32 connections", 32)
PROMPT_4_KB = Workload("prompt_4_kb", "4 KB requests, closed loop, 32 connections", 32, prompt_kb=4)
PROMPT_50_KB = Workload("prompt_50_kb", "50 KB requests, closed loop, 32 connections", 32, prompt_kb=50)
PACED_150 = Workload("paced_150", "1 KB requests, 150 per second", 32, rate=150)
PACED_1000 = Workload("paced_1000", "1 KB requests, 1000 per second", 32, rate=1000)
STREAMS_200 = Workload("streams_200", "200 streams of 50 chunks per second", 200, chunks=100, chunks_per_second=50)
STREAMS_1000 = Workload("streams_1000", "1000 streams of 20 chunks per second", 1000, chunks=60, chunks_per_second=20)
SATURATED = Workload(
    "saturated", "200 streams of up to 500 chunks per second", 200, chunks=500, chunks_per_second=500, is_saturated=True
)
WORKLOADS = (CLOSED_LOOP, PROMPT_4_KB, PROMPT_50_KB, PACED_150, PACED_1000, STREAMS_200, STREAMS_1000, SATURATED)
SHORT_STREAMS = Workload(
    "short_streams", "200 short streams of 50 chunks per second", 200, chunks=25, chunks_per_second=50
)
QUICK = (CLOSED_LOOP, SHORT_STREAMS)
"what there is time for in a quick run"
ALL = (*WORKLOADS, SHORT_STREAMS)


def write_body(workload: Workload, folder: Path) -> Path:
    """Write the workload's request body, with a place for the nonce that the load generator counts up."""
    pace = f"pace-{workload.chunks}-{workload.chunks_per_second} " if workload.is_stream else ""
    question = f"{NO_NONCE} {pace}{QUESTION}"
    request: dict[str, Any] = {
        "model": "gpt-4o-mini",
        "messages": [
            {"role": "system", "content": SYSTEM_PROMPT * 3},
            {"role": "user", "content": question},
        ],
        "max_tokens": 256,
        "temperature": 0.2,
    }
    if workload.is_stream:
        request |= {"stream": True, "stream_options": {"include_usage": True}}
    missing = workload.prompt_kb * 1024 - len(json.dumps(request))
    if workload.prompt_kb > 1:
        request["messages"][1]["content"] = question + _prose(missing)
    path = folder / f"{workload.name}.json"
    path.write_text(json.dumps(request))
    return path


def _prose(size: int) -> str:
    """Return made-up words, the same each time, that compress about as well as English."""
    chosen = random.Random(7)
    words = ["".join(chosen.choices(SYLLABLES, k=chosen.randint(1, 4))) for _ in range(size // 4)]
    return " ".join(words)[:size]
