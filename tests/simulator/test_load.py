"""One process carries a thousand requests at once."""

from __future__ import annotations

import asyncio
import json

from tests.harness import Simulator
from tests.simulator.raw import STREAM

CLIENTS = 1000


async def stream_one(port: int, number: int) -> bool:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps(STREAM | {"user": f"load {number}"}).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-simulate: pace=20;tokens=40\r\ncontent-length: {len(body)}"
    )
    writer.write(head.encode() + b"\r\n\r\n" + body)
    received = await reader.readuntil(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return received.count(b'"content"') == 41


async def test_a_thousand_paced_streams_run_side_by_side(provider: Simulator) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    whole = await asyncio.gather(*(stream_one(provider.port, number) for number in range(CLIENTS)))
    took = loop.time() - began
    assert all(whole)
    # Two seconds each: one after the other they would take half an hour, ten at a time more than three minutes.
    assert took < 60
