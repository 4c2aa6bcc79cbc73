"""The provider that fails on order does what it was told, and its log tells the truth."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import io
import time
from collections.abc import Iterator

import pytest

from tests.harness.client import Answer, RawClient, exchange, post
from tests.harness.faultprogram import PROGRAMS, body_of, event_of, usage_of
from tests.harness.faultupstream import FaultUpstream, Served
from tests.harness.process import wait_until

BODY = b'{"model":"m"}'


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultUpstream]:
    with FaultUpstream(tmp_path_factory.mktemp("faultupstream")) as made:
        yield made


def order(fault: str, name: str, body: bytes = BODY) -> bytes:
    return post("/v1/chat/completions", body, headers=(f"x-fault: {fault}", f"x-name: {name}"))


def asked(upstream: FaultUpstream, fault: str, name: str, end: bytes = b"", body: bytes = BODY) -> Answer:
    """Order a fault; read to `end`, or to the end of the connection."""
    if not end:
        return exchange(upstream.port, order(fault, name, body))
    with RawClient(upstream.port) as client:
        client.send(order(fault, name, body))
        return Answer(client.read_until(end), is_reset=False)


def truth(upstream: FaultUpstream, name: str) -> Served:
    return wait_until(lambda: next((s for s in upstream.truth() if s.name == name), None), "the truth")


def test_a_program_sends_exactly_what_it_says(upstream: FaultUpstream) -> None:
    program = "run;status 201 | header x-a: b | sse | chunked | event 2 | usage | done | end"
    answer = asked(upstream, program, "exact", b"0\r\n\r\n")
    body = [event_of("exact"), event_of("exact"), usage_of(2), b"data: [DONE]\n\n"]
    head = b"HTTP/1.1 201 Status\r\nx-a: b\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    assert answer.raw == head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in body) + b"0\r\n\r\n"
    served = truth(upstream, "exact")
    assert (served.tokens, served.is_whole, served.aborted_at) == (2, True, None)
    assert (served.wire_bytes, served.sent_bytes) == (len(answer.raw), sum(map(len, body)))
    assert served.sent_sha256 == hashlib.sha256(b"".join(body)).hexdigest()
    assert served.body_sha256 == hashlib.sha256(BODY).hexdigest()
    assert served.authorization == "Bearer sk-raw-0123456789abcdef"


@pytest.mark.parametrize("how", ["rst", "fin"])
@pytest.mark.parametrize("at", [1, 30, 90, 150])
def test_a_cut_falls_behind_the_byte_that_was_named(upstream: FaultUpstream, at: int, how: str) -> None:
    name = f"cut-{at}-{how}"
    answer = asked(upstream, f"run;cut {at} {how} | json | length | answer", name)
    assert len(answer.raw) == at
    assert answer.is_reset == (how == "rst")
    served = truth(upstream, name)
    assert (served.aborted_at, served.wire_bytes, served.is_whole) == (at, at, False)
    assert served.sent_bytes == max(0, len(answer.body))


def test_a_fault_may_stand_in_the_model(upstream: FaultUpstream) -> None:
    with RawClient(upstream.port) as client:
        client.send(post("/v1/chat/completions", b'{"model":"fault/limited"}'))
        assert client.read_until(b"}}").startswith(b"HTTP/1.1 429")


def test_faults_take_turns_for_one_name(upstream: FaultUpstream) -> None:
    statuses = [asked(upstream, "turns;status;500 || status;503 || ok", "turns", b"}}").status for _ in range(4)]
    assert statuses == [500, 503, 200, 200]


def test_the_log_tells_when_the_peer_left(upstream: FaultUpstream) -> None:
    with RawClient(upstream.port) as client:
        client.send(order("stall", "leaver"))
        client.read_until(b"data:")
        left = time.monotonic()
    served = truth(upstream, "leaver")
    assert served.peer_left is not None
    assert 0 <= served.peer_left - left < 1
    assert not served.is_whole


def test_a_bomb_is_small_on_the_wire_and_large_behind_it(upstream: FaultUpstream) -> None:
    answer = asked(upstream, "run;json | gzip bomb | fin", "bomb")
    assert len(answer.body) < 1 << 20
    with gzip.GzipFile(fileobj=io.BytesIO(answer.body)) as file:
        size = 0
        while piece := file.read(1 << 20):
            size += len(piece)
    assert size == (200 << 20) + 9


def test_a_connection_that_is_idle_for_so_long_is_closed(upstream: FaultUpstream) -> None:
    with RawClient(upstream.port) as client:
        began = time.monotonic()
        client.send(order("close-idle;0.2", "idle"))
        answer = client.read_all()
    assert answer.body == body_of("idle")
    assert 0.15 < time.monotonic() - began < 5


@pytest.mark.parametrize(
    "name",
    sorted(
        set(PROGRAMS)
        - {
            "head-drip",
            "close-idle",
            "informational",
            "big-header",
            "many-headers",
            "ones",
            "redirect",
            "header",
            "status",
        }
    ),
)
def test_every_named_program_can_be_played(upstream: FaultUpstream, name: str) -> None:
    with RawClient(upstream.port, timeout_s=0.1) as client:
        client.send(order(name, f"named-{name}"))
        with contextlib.suppress(TimeoutError):  # it keeps the connection, or says nothing
            client.read_all()
    assert truth(upstream, f"named-{name}").fault == name


def test_a_thousand_connections_are_served_at_once(upstream: FaultUpstream) -> None:
    async def ask(number: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", upstream.port)
        writer.write(order("run;sleep 0.5 | json | length | answer", f"crowd{number}"))
        data = await reader.readuntil(b"}}")
        writer.close()
        return data

    async def crowd() -> list[bytes]:
        return await asyncio.gather(*(ask(number) for number in range(1000)))

    began = time.monotonic()
    answers = asyncio.run(crowd())
    seconds = time.monotonic() - began
    assert all(answer.endswith(body_of(f"crowd{number}")) for number, answer in enumerate(answers))
    assert seconds < 20
    print("1000 at once in", round(seconds, 2), "s")
