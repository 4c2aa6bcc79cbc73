"""Records whose every text is what somebody hostile would put there."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from proxy.config import parse_config
from proxy.journal import JournalWriter
from proxy.recorder import run as record
from tests.recorder.builders import make_begin, make_end


def record_texts(data_dir: Path, texts: Sequence[str], *, later_s: int = 0) -> None:
    """Record one exchange for each text, which stands in all its fields; `later_s`: how far in the future."""
    writer = JournalWriter(data_dir / "journal", "gateway-0")
    now = time.time_ns() // 1_000_000 + later_s * 1000
    for number, text in enumerate(texts):
        prompt = json.dumps({"model": text, "messages": [{"role": "user", "content": text}]}).encode()
        call = {"id": text, "type": "function", "function": {"name": text, "arguments": text}}
        choice = {"index": 0, "message": {"role": text, "content": text, "tool_calls": [call]}, "finish_reason": text}
        fails = number % 2
        answer = (
            {"error": {"message": text, "type": text, "code": text}} if fails else {"model": text, "choices": [choice]}
        )
        body = json.dumps(answer).encode()
        begin = make_begin(
            id=str(uuid.uuid4()),
            started_at_ms=now - number,
            key=text,
            user=text,
            session=text,
            environment=text,
            trace_id=text,
            tags={text: text},
        )
        opened = writer.begin(begin, prompt)
        writer.end(opened, make_end(body, prompt, status=500 if fails else 200), body)
    writer.close()
    stop = threading.Event()
    stop.set()
    record(data_dir, parse_config("metrics: {max_series: 500}"), data_dir / "run" / "ledger.sock", stop=stop)
