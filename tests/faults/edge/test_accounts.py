"""What is counted is given back: places by address, bytes in memory, after every way in which a request can end."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from proxy.websocket import FrameParser, Opcode, encode_frame
from tests.faults.edge.altered import program
from tests.faults.edge.metrics import counted
from tests.faults.edge.payloads import get
from tests.faults.edge.test_limits import KEY, LAST_PROBE, LIMITED, MB, body_of
from tests.harness import Glassline
from tests.harness.client import Answer, RawClient, exchange, post
from tests.harness.process import wait_until
from tests.harness.stage import with_upstream
from tests.harness.upstream import Connection, ScriptedUpstream, answer_chat
from tests.harness.websocket import SocketClient, switching, upgrade

MASK = b"\x37\xfa\x21\x3d"
SESSION = "/v1/realtime?model=gpt-realtime"


def script(connection: Connection) -> None:
    """End as the request asks."""
    request = connection.request
    if b"upgrade: websocket" in request.lower():
        connection.send(switching(request))
        connection.wait_closed(10)
    elif b"x-end: reset" in request:
        connection.reset()
    elif b"x-end: cut" in request:
        connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
        connection.socket.close()
    elif b"x-end: busy" in request:
        connection.send(b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy")
    elif b"x-end: silence" in request:
        connection.wait_closed(10)
    else:
        answer_chat(connection)


@contextmanager
def altered(directory: Path, name: str, config: dict[str, Any], told: Path) -> Iterator[Glassline]:
    """Run an altered Glassline in front of `script`."""
    with ExitStack() as stack:
        upstream = stack.enter_context(ScriptedUpstream(script))
        row = {"base_url": upstream.url, "wire": "openai", "allow_private": True, "retries": RETRIES}
        whole = {**with_upstream(config, upstream.url), "upstreams": {"openai": row}}
        made = Glassline(directory, whole, program=program(name), env={"TOLD_HELD_BYTES": str(told)})
        yield stack.enter_context(closing(made)).start()


RETRIES = {"attempts": 2, "after": [503], "backoff": "20ms"}


def come_from(address: str, port: int) -> socket.socket:
    """Connect from one of this machine's own addresses."""
    return socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(address, 0))


def test_one_connection_too_many_from_an_address_is_told_so_and_other_addresses_are_served(tmp_path: Path) -> None:
    config = {"limits": {"connections_per_ip": 3}}
    with altered(tmp_path / "g", "second_loopback_is_foreign", config, tmp_path / "told") as glassline:
        with ExitStack() as stack:
            inside = [stack.enter_context(come_from("127.0.0.2", glassline.port)) for _ in range(3)]
            inside[0].sendall(get(target=b"/healthz"))
            assert inside[0].recv(4096).startswith(b"HTTP/1.1 200")
            one_more = stack.enter_context(come_from("127.0.0.2", glassline.port))
            answer = Answer(one_more.recv(4096), is_reset=False)
            assert (answer.status, b"x-glassline-error: overloaded" in answer.head) == (503, True)
            assert all(exchange(glassline.port, LAST_PROBE).status == 200 for _ in range(5))
        wait_until(lambda: _is_served(glassline.port), "a free place")
        wait_until(
            lambda: counted(glassline, "glassline_shed_total", "gateway-0") >= 1, "the count of those turned away"
        )


def _is_served(port: int) -> bool:
    with come_from("127.0.0.2", port) as connection:
        connection.sendall(LAST_PROBE)
        return connection.recv(4096).startswith(b"HTTP/1.1 200")


def test_no_byte_stays_counted_after_a_storm_of_every_ending(tmp_path: Path) -> None:
    told = tmp_path / "told"
    timeouts = {"first_byte": 0.5, "body_idle": 0.5}
    config = {**LIMITED, "timeouts": timeouts, "limits": {"memory_mb": 2, "body_mb": 1.5}}
    with altered(tmp_path / "g", "tells_held_bytes", config, told) as glassline:
        port = glassline.port
        statuses = {}
        for key in (KEY, "sk-unlimited-0123456789"):
            for end in ("", "x-end: reset", "x-end: cut", "x-end: busy", "x-end: silence"):
                request = post("/v1/chat/completions", body_of(300_000), key=key, headers=(end,) if end else ())
                statuses[key, end] = exchange(port, request).status
            whole = post("/v1/chat/completions", body_of(300_000), key=key)
            for part in (whole[:100_000], whole[:-1]):
                with RawClient(port) as client:
                    client.send(part)
                    client.reset()
                with RawClient(port) as client:
                    client.send(part)
                    assert client.read_all().status == 408
            lines = (f"Authorization: Bearer {key}".encode(), b"Transfer-Encoding: chunked")
            head = get(*lines, target=b"/v1/chat/completions").replace(b"GET", b"POST", 1)
            assert exchange(port, head + b"186a0\r\n" + bytes(100_000) + b"\r\n!\r\n").status == 400
            assert exchange(port, head + b"200000\r\n" + bytes(0x200000)).status == 413
        _leave_in_the_midst_of_a_message(port)
        assert set(statuses.values()) == {200, 502, 503, 504}, statuses
        seen = int(told.read_text().split()[0])
        wait_until(lambda: int(told.read_text().split()[0]) > seen + 5, "another look")
        assert told.read_text().split()[1] == "0"


def _leave_in_the_midst_of_a_message(port: int) -> None:
    message = encode_frame(Opcode.TEXT, b"x" * MB, mask=MASK)
    with SocketClient(port, upgrade(SESSION, key=KEY)) as client:
        assert client.status == 101
        client.send(message[:-1])
        client.reset()


def test_messages_that_wait_count_as_memory_and_too_many_end_their_session(tmp_path: Path) -> None:
    config = {**LIMITED, "limits": {"memory_mb": 1}}
    message = encode_frame(Opcode.TEXT, b"x" * (3 * MB), mask=MASK)
    with altered(tmp_path / "g", "tells_held_bytes", config, tmp_path / "told") as glassline:
        with SocketClient(glassline.port, upgrade(SESSION, "x-glassline-session: much", key=KEY)) as client:
            client.listen()
            client.send(message[: 2 * MB])
            assert client.ear.is_over.wait(10)
            *_, last = FrameParser().feed(bytes(client.ear.data))
            assert last.close_code == 1013
        [row] = glassline.wait_for_rows(1, "session = 'much'")
        assert (row["outcome"], row["error_code"]) == ("refused", "overloaded")
