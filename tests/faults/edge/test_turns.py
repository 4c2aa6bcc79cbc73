"""One client that sends as fast as it can takes its turn like everybody else."""

from __future__ import annotations

import threading

from tests.conftest import StartGlassline
from tests.faults.edge.test_limits import KEY, LIMITED, MB
from tests.harness.client import RawClient
from tests.harness.upstream import ScriptedUpstream

PROBE = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
SIZE = 16 * MB


def test_an_upload_in_small_chunks_leaves_room_between_its_reads(
    start_glassline: StartGlassline, echo: ScriptedUpstream
) -> None:
    glassline = start_glassline(echo.url, LIMITED)
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %b\r\n"
        b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" % KEY.encode()
    )
    body = b"20\r\n" + b" " * 32 + b"\r\n"
    upload = head + body * (SIZE // 32) + b"0\r\n\r\n"
    answered = 0
    with RawClient(glassline.port, timeout_s=60) as busy, RawClient(glassline.port, timeout_s=60) as other:
        sender = threading.Thread(target=busy.send, args=(upload,))
        sender.start()
        while sender.is_alive():
            other.send(PROBE)
            assert other.read_until(b"ok\n")
            answered += 1
        sender.join()
        assert busy.read_all().status == 400
    assert answered > 10, "read as fast as the loop goes on by itself, it leaves room for two or three"
