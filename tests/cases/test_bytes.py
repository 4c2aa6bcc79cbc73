"""Cases 1 to 8: bodies and heads pass as they are."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections import Counter
from pathlib import Path

import brotli
import pytest
import zstandard

from tests.cases.stage import KEY, Stage, plain, streamed
from tests.harness.client import RawClient, post
from tests.harness.tee import bodies
from tests.harness.upstream import CHAT, answer_chat, chunk, with_length

CHAT_PATH = "/v1/chat/completions"
UNUSUAL = {
    "duplicate names": b'{"model":"gpt-4o-mini","model":"gpt-4o-mini","messages":[]}',
    "huge exponent": b'{"model":"gpt-4o-mini","temperature":1e400,"messages":[]}',
    "escapes": b'{"model":"gpt-4o-mini","user":"caf\\u00e9 \\ud83d\\ude00","messages":[]}',
    "trailing spaces": b'{"model":"gpt-4o-mini","messages":[]}  \t\r\n ',
    "thirty digits": b'{"model":"gpt-4o-mini","seed":123456789012345678901234567890,"messages":[]}',
    "spelling of numbers": b'{"model":"gpt-4o-mini","top_p":1.0,"temperature":0.10,"seed":-0,"messages":[]}',
}


@pytest.mark.case(1)
@pytest.mark.parametrize("kind", UNUSUAL)
def test_unusual_json_arrives_as_it_was_written(stage: Stage, kind: str) -> None:
    played = stage.play(CHAT_PATH, UNUSUAL[kind], with_length(CHAT))
    assert played.answer.status == 200
    played.assert_request_is(UNUSUAL[kind])
    played.assert_response_is(CHAT)


@pytest.mark.case(2)
@pytest.mark.parametrize("tail", [b"", b"  \r\n"])
def test_asking_for_usage_inserts_its_bytes_and_changes_no_other(stage: Stage, tail: bytes) -> None:
    body = b'{"model":"gpt-4o-mini","seed":123456789012345678901234567890,"n":1.0,"stream":true,"messages":[]}' + tail
    option = b'"stream_options":{"include_usage":true},'
    played = stage.play(CHAT_PATH, body, streamed([b"data: [DONE]\n\n"]))
    sent = played.forwarded
    assert hashlib.sha256(sent.replace(option, b"", 1)).digest() == hashlib.sha256(body).digest()
    assert len(sent) == len(body) + len(option)
    assert b"content-length: %d\r\n" % len(sent) in played.asked.lower()
    assert played.digests[0] == hashlib.sha256(body).hexdigest(), "the record has what the client sent"
    assert "include_usage" in played.row["mutated"]


@pytest.mark.case(3)
def test_a_strangely_laid_out_answer_and_its_headers_pass(stage: Stage) -> None:
    body = b'\xef\xbb\xbf{\r\n  "id" : "x",\r\n\t"object":"chat.completion" ,"choices":[ ]\r\n}\r\n\r\n'
    headers = (
        b"Content-Type: application/json; charset=utf-8\r\nX-Twice: a\r\nx-twice: b\r\nX-Empty:\r\n"
        b"Set-Cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\nDate: Sat, 21 Nov 2026 00:00:00 GMT\r\nServer: elsewhere\r\n"
        b"Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n"
    )
    played = stage.play(CHAT_PATH, b'{"model":"gpt-4o-mini"}', plain(body, headers))
    played.assert_response_is(body)
    hop = (b"connection", b"keep-alive")
    want = Counter(line for line in _fields(headers) if line[0] not in hop)
    ours = (b"x-glassline-request-id", b"x-glassline-overhead-ms")
    got = Counter(line for line in _fields(played.answer.head.split(b"\r\n", 1)[1]) if line[0] not in (*hop, *ours))
    assert got == want + Counter([(b"content-length", b"%d" % len(body))])


def _fields(head: bytes) -> list[tuple[bytes, bytes]]:
    lines = [line for line in head.split(b"\r\n") if line]
    return [
        (name.strip().lower(), value.strip().lower()) for name, _, value in (line.partition(b":") for line in lines)
    ]


@pytest.mark.case(4)
def test_a_long_chunked_upload_is_streamed_and_not_kept_in_memory(stage: Stage) -> None:
    total, piece = 100 * 1024 * 1024, bytes(range(256)) * 1024
    sent = hashlib.sha256()
    head = post("/sink/v1/files", b"", key=KEY, headers=("x-glassline-session: upload",)).partition(b"\r\n\r\n")[0]
    head = head.replace(b"Content-Length: 0", b"Transfer-Encoding: chunked").replace(b"application/json", b"x/y")
    [gateway] = stage.glassline.pids_of("gateway")
    before = peak = resident_mb(gateway)
    with RawClient(stage.glassline.port, timeout_s=60) as client:
        client.send(head + b"\r\n\r\n")
        for start in range(0, total, len(piece)):
            client.send(chunk(piece))
            sent.update(piece)
            if start % (1 << 24) == 0:
                peak = max(peak, resident_mb(gateway))
                assert stage.sink.wait_for(start // 2), "the upstream gets nothing before the upload's end"
        client.send(b"0\r\n\r\n")
        answer = client.read_all()
    assert (answer.status, stage.sink.digest) == (200, sent.hexdigest())
    assert peak - before < 20, f"{before} MB grew to {peak} MB"
    row = stage.row("upload")
    assert (row["request_bytes"], stage.digests(row)[0]) == (total, sent.hexdigest())


def resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 1e6


@pytest.mark.case(5)
def test_a_hundred_is_sent_at_once_and_the_body_forwarded_once(stage: Stage) -> None:
    body = b'{"model":"gpt-4o-mini","messages":[],"pad":"' + b"x" * 2_000_000 + b'"}'
    request = post(CHAT_PATH, body, key=KEY, headers=("Expect: 100-continue", "x-glassline-session: expect"))
    head, _, rest = request.partition(b"\r\n\r\n")
    stage.upstream.script = answer_chat
    before = len(stage.upstream.requests)
    with RawClient(stage.glassline.port) as client:
        client.send(head + b"\r\n\r\n")
        assert client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(rest)
        answer = client.read_all()
    assert answer.status == 200
    [asked] = stage.upstream.requests[before:]
    assert hashlib.sha256(bodies(asked)[0]).hexdigest() == hashlib.sha256(body).hexdigest()
    assert stage.digests(stage.row("expect"))[0] == hashlib.sha256(body).hexdigest()


@pytest.mark.case(6)
def test_a_multipart_body_passes_and_its_model_is_read(stage: Stage) -> None:
    boundary = b"--=_odd'()+_,-./:=?"
    picture = b"\x89PNG\r\n\x1a\n\x00\x00--" + bytes(range(256)) + b"\r\n--almost"

    def part(disposition: bytes, value: bytes) -> bytes:
        return b"--" + boundary + b"\r\nContent-Disposition: form-data; " + disposition + b"\r\n\r\n" + value + b"\r\n"

    body = (
        part(b'name="model"', b"gpt-image-1")
        + part(b'name="prompt"', b"a caf\xc3\xa9")
        + part(b'name="image[]"; filename="a.png"\r\nContent-Type: image/png', picture)
        + part(b'name="image[]"; filename="b.png"\r\nContent-Type: image/png', picture[::-1])
        + b"--"
        + boundary
        + b"--\r\n"
    )
    request = post("/v1/images/edits", body, key=KEY).replace(
        b"application/json", b'multipart/form-data; boundary="' + boundary + b'"'
    )
    answer = (
        b'{"created":1,"data":[{"b64_json":"AAAA"}],"usage":{"total_tokens":150,"input_tokens":50,"output_tokens":100,'
        b'"input_tokens_details":{"text_tokens":10,"image_tokens":40}}}'
    )
    played = stage.play("", b"", plain(answer), request=request)
    played.assert_request_is(body)
    played.assert_response_is(answer)
    assert (played.row["model_requested"], played.row["endpoint"]) == ("gpt-image-1", "images_edit")
    assert (played.row["input_tokens"], played.row["output_tokens"]) == (50, 100)


CODECS = {
    "gzip": gzip.compress,
    "br": brotli.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "deflate": zlib.compress,
}


@pytest.mark.case(7)
@pytest.mark.parametrize("coding", CODECS)
def test_a_compressed_answer_passes_compressed_and_is_read(stage: Stage, coding: str) -> None:
    compressed = CODECS[coding](CHAT)
    headers = b"content-type: application/json\r\ncontent-encoding: %b\r\n" % coding.encode()
    played = stage.play(CHAT_PATH, b'{"model":"gpt-4o-mini"}', plain(compressed, headers), f"Accept-Encoding: {coding}")
    assert b"accept-encoding: %b" % coding.encode() in played.asked.lower()
    played.assert_response_is(compressed)
    assert (played.row["input_tokens"], played.row["output_tokens"]) == (9, 2)
    assert played.row["finish_reason"] == "stop"


@pytest.mark.case(8)
def test_who_wants_no_compression_gets_none(stage: Stage) -> None:
    played = stage.play(CHAT_PATH, b'{"model":"gpt-4o-mini"}', with_length(CHAT), "Accept-Encoding: identity")
    asked = [line for line in played.asked.lower().split(b"\r\n") if line.startswith(b"accept-encoding:")]
    assert asked == [b"accept-encoding: identity"]
    played.assert_response_is(CHAT)
