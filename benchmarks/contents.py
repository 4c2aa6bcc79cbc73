"""Whether a recorded request is the one that was sent: its bodies, byte for byte, as the API gives them."""

import http.client
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from benchmarks.workloads import NO_NONCE

SAMPLED = 8
"requests of each measurement whose bodies are looked at"
BLANK = NO_NONCE.encode()


@dataclass(frozen=True, slots=True)
class Sent:
    """What went through a proxy in one measurement."""

    body: bytes
    "with zeros for the nonce"
    answer: bytes
    "likewise; of a stream its last events, from the one with the finish reason"
    first_nonce: int
    requests: int

    def differences(self, request: bytes, answer: bytes) -> Iterator[str]:
        """Say in what a record differs from what was sent and answered."""
        at = self.body.index(BLANK)
        nonce = request[at : at + len(BLANK)]
        number = _number_of(nonce)
        if request != self.body.replace(BLANK, nonce) or number is None:
            yield f"another request body was recorded: {request[:200]!r}"
        elif not 0 <= number - self.first_nonce < self.requests:
            yield f"a request that was not sent was recorded: {nonce!r}"
        elif not answer.endswith(self.answer.replace(BLANK, nonce)):
            yield f"another answer was recorded: {answer[:100]!r} … {answer[-200:]!r}"


def _number_of(nonce: bytes) -> int | None:
    try:
        return int(nonce.removeprefix(b"bench-"), 16)
    except ValueError:
        return None


def fetch_answer(port: int, body: bytes) -> bytes:
    """Ask the mock provider for its answer to `body`; of a stream only what does not depend on the clock."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        answer = connection.getresponse().read()
    start = answer.rfind(b"\n\n", 0, answer.find(b'"finish_reason":"stop"')) + 2
    return answer[start:] if answer.startswith(b"data: ") else answer


def check_contents(records: Path, read_body: Callable[[str, str], bytes], sent: Sent) -> list[str]:
    """Look at a few of the newest records; returns what is wrong with them.

    `read_body` fetches the `request` or the `response` body of a record by its id.
    """
    step = max(1, sent.requests // SAMPLED)
    query = "SELECT id FROM requests ORDER BY started_at DESC LIMIT 1 OFFSET ?"
    with closing(sqlite3.connect(f"file:{records}?mode=ro", uri=True, timeout=10)) as database:
        found = [database.execute(query, (at,)).fetchone() for at in range(0, sent.requests, step)]
    ids = [row[0] for row in found if row]
    return [
        f"record {name}: {difference}"
        for name in ids
        for difference in sent.differences(read_body(name, "request"), read_body(name, "response"))
    ]
