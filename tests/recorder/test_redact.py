"""What the recorder stores of bodies that are redacted: every form in which a body may come."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest

from proxy.store import Record
from proxy.websocket import FrameParser, Opcode, encode_frame
from proxy.wire.eventstream import EventStreamParser
from proxy.wire.eventstream import encode_frame as encode_event
from tests.recorder.builders import (
    ANSWER,
    DONE_EVENT,
    JSON_HEADERS,
    PROMPT,
    SSE_HEADERS,
    STREAM_PROMPT,
    USAGE_EVENT,
    interpreter,
    make_begin,
    make_end,
    make_exchange,
)

MAIL = "alice.smith@example.com"
POLICY = {"record": {"redact": ["email", "phone", "keys", "ip"]}}
PERSONAL = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": f"write to {MAIL}"}]}).encode()


def record(
    request: bytes = PERSONAL,
    response: bytes = ANSWER,
    *,
    policy: dict[str, Any] | None = None,
    begin: dict[str, Any] | None = None,
    **end: Any,
) -> Record:
    exchange = make_exchange(make_begin(**(begin or {})), make_end(response, request, **end), request, response)
    return interpreter(json.dumps(policy or POLICY)).record(exchange)


def everything(made: Record) -> str:
    """Return all of a record that the store would be given."""
    from proxy.store.row import exchange_row

    headers = (made.request.headers, made.response.headers)
    bodies = (made.request.head, made.request.tail, made.response.head, made.response.tail)
    return repr((exchange_row(made), headers, bodies))


def test_a_body_loses_what_was_found_and_its_hash_and_keeps_its_size() -> None:
    made = record()
    assert made.request.head is not None
    assert json.loads(made.request.head)["messages"][0]["content"] == "write to [EMAIL]"
    assert (made.request.size, made.request.sha256, made.request.edit) == (len(PERSONAL), b"", "redacted")
    assert made.privacy == ("redacted",)
    assert MAIL not in everything(made)


def test_a_body_in_which_nothing_is_found_stays_byte_for_byte() -> None:
    packed = gzip.compress(ANSWER)
    made = record(PROMPT, packed, headers=(*JSON_HEADERS, (b"content-encoding", b"gzip")))
    assert (made.request.head, made.request.edit) == (PROMPT, "")
    assert (made.response.head, made.response.edit) == (packed, "")
    assert len(made.response.sha256) == 32
    assert made.privacy == ()


def test_what_was_understood_and_charged_is_as_without_redaction() -> None:
    response = ANSWER.replace(b"Hello!", MAIL.encode())
    plain, redacted = record(response=response, policy={"record": {}}), record(response=response)
    assert redacted.usage == plain.usage
    assert redacted.cost == plain.cost
    assert [each for each in redacted.tallies if "redact" not in each.name] == list(plain.tallies)


def test_a_compressed_body_is_kept_decoded_and_says_so() -> None:
    packed = gzip.compress(ANSWER.replace(b"Hello!", MAIL.encode()))
    made = record(PROMPT, packed, headers=(*JSON_HEADERS, (b"content-encoding", b"gzip")))
    assert b"[EMAIL]" in (made.response.head or b"")
    assert (b"x-glassline-decoded", b"gzip") in made.response.headers
    assert not any(name == b"content-encoding" for name, _ in made.response.headers)


def test_every_text_beside_the_bodies_is_redacted() -> None:
    begin = {
        "path": "/chat/completions?user=alice.smith%40example.com",
        "headers": (*JSON_HEADERS, (b"x-note", MAIL.encode())),
        "user": MAIL,
        "session": f"session of {MAIL}",
        "tags": {MAIL: MAIL},
        "environment": MAIL,
        "prompt_name": MAIL,
        "trace_id": MAIL,
        "parent_id": MAIL,
    }
    call = {"id": "c", "type": "function", "function": {"name": "mail", "arguments": json.dumps({"to": MAIL})}}
    answer = json.loads(ANSWER)
    answer["choices"][0]["message"]["tool_calls"] = [call]
    made = record(response=json.dumps(answer).encode(), begin=begin, headers=(*JSON_HEADERS, (b"x-to", MAIL.encode())))
    assert made.reading.tool_calls
    assert MAIL not in everything(made)
    assert "alice" not in everything(made)
    error = json.dumps({"error": {"message": f"no such mailbox: {MAIL}", "type": "invalid"}}).encode()
    failed = record(response=error, status=400, error_message=MAIL)
    assert failed.exchange.end.error_message == "[EMAIL]"
    assert failed.reading.error_message == "no such mailbox: [EMAIL]"


def test_a_stream_is_redacted_over_its_events() -> None:
    event = b'data: {"id":"1","model":"gpt-4o-mini","choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n'
    stream = b"".join(event % bytes([letter]) for letter in MAIL.encode()) + USAGE_EVENT + DONE_EVENT
    made = record(STREAM_PROMPT, stream, headers=SSE_HEADERS)
    assert made.response.head is not None
    texts = [json.loads(line[6:]) for line in made.response.head.split(b"\n\n") if line.startswith(b"data: {")]
    said = "".join(choice["delta"]["content"] for text in texts for choice in text["choices"])
    assert said == "[EMAIL]"
    assert made.totals.output == 2


def test_what_stands_on_both_sides_of_a_gap_is_cut_so_that_no_half_of_a_secret_is_left() -> None:
    event = b'data: {"id":"1","model":"gpt-4o-mini","choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n'
    head = event % (b"x" * 2000) + b'data: {"id":"1","choices":[{"index":0,"delta":{"content":"alice.smith@exam'
    tail = b'ple.com"}}]}\n\n' + event % (b"y" * 2000) + event % b"alice.smith@" + event % b"example.com" + USAGE_EVENT
    made = record(STREAM_PROMPT, head, headers=SSE_HEADERS, response_size=10_000_000, response_tail=tail)
    assert b"alice" not in (made.response.head or b"") + made.response.tail
    assert b"ple.com" not in made.response.tail
    assert made.response.edit == "redacted_cut"
    assert USAGE_EVENT in made.response.tail


def test_forms_are_redacted_field_by_field_and_sound_in_them_stays() -> None:
    sound = b"RIFF\x00\xff\xfe\x00" + bytes(range(256))
    body = (
        b'--B\r\ncontent-disposition: form-data; name="prompt"\r\n\r\n' + MAIL.encode() + b"\r\n"
        b'--B\r\ncontent-disposition: form-data; name="file"; filename="' + MAIL.encode() + b'.wav"\r\n\r\n'
        b"" + sound + b"\r\n"
        b'--B\r\ncontent-disposition: form-data; name="lines"; filename="a.jsonl"\r\n\r\n{"a":"'
        + MAIL.encode()
        + b'"}\r\n--B--\r\n'
    )
    headers = ((b"content-type", b"multipart/form-data; boundary=B"),)
    made = record(body, begin={"path": "/audio/transcriptions", "headers": headers})
    assert made.request.head is not None
    assert MAIL.encode() not in made.request.head
    assert made.request.head.count(b"[EMAIL]") == 3
    assert sound in made.request.head
    assert b'{"a":"[EMAIL]"}' in made.request.head


def socket_record(client: bytes, server: bytes, extensions: bytes = b"", **end: Any) -> Record:
    headers = ((b"upgrade", b"websocket"), (b"sec-websocket-extensions", extensions))
    begin = {"method": "GET", "path": "/realtime?model=gpt-realtime", "headers": headers}
    return record(client, server, begin=begin, status=101, headers=headers, **end)


def test_the_messages_of_a_socket_are_redacted_on_both_sides_also_over_several_of_them() -> None:
    item = {"type": "conversation.item.create", "item": {"content": [{"type": "input_text", "text": MAIL}]}}
    client = encode_frame(Opcode.TEXT, json.dumps(item).encode(), mask=b"abcd")
    deltas = [{"type": "response.output_text.delta", "event_id": f"e{n}", "delta": c} for n, c in enumerate(MAIL)]
    server = b"".join(encode_frame(Opcode.TEXT, json.dumps(delta).encode()) for delta in deltas)
    server += encode_frame(Opcode.BINARY, b"\xff\x00sound\xfe" * 9) + encode_frame(
        Opcode.CLOSE, b"\x03\xe8bye " + MAIL.encode()
    )
    made = socket_record(client, server)
    assert made.request.head is not None
    assert made.response.head is not None
    (said,) = FrameParser().feed(made.request.head)
    assert json.loads(said.head)["item"]["content"][0]["text"] == "[EMAIL]"
    *texts, sound, close = FrameParser().feed(made.response.head)
    assert "".join(json.loads(text.head)["delta"] for text in texts) == "[EMAIL]"
    assert sound.head == b"\xff\x00sound\xfe" * 9
    assert (close.close_code, close.close_reason) == (1000, "bye [EMAIL]")


def test_a_socket_whose_frames_cannot_be_read_is_not_kept() -> None:
    made = socket_record(b"\xff" * 100, b"")
    assert (made.request.head, made.privacy) == (None, ("redaction_failed",))


def test_a_message_that_broke_off_is_not_kept() -> None:
    whole = encode_frame(Opcode.TEXT, b'{"type":"ping"}')
    made = socket_record(whole + encode_frame(Opcode.TEXT, MAIL.encode())[:-1], b"")
    assert (made.request.head, made.request.edit) == (whole, "redacted_cut")


@pytest.mark.parametrize("is_wrapped", [True, False])
def test_binary_event_streams_are_redacted_and_stay_readable(is_wrapped: bool) -> None:
    def payload(text: str) -> bytes:
        inner = json.dumps({"contentBlockIndex": 0, "delta": {"text": text}}).encode()
        return json.dumps({"bytes": base64.b64encode(inner).decode(), "p": "abc"}).encode() if is_wrapped else inner

    def text_of(data: bytes) -> str:
        whole = json.loads(data)
        return str((json.loads(base64.b64decode(whole["bytes"])) if is_wrapped else whole)["delta"]["text"])

    headers = {":event-type": "chunk", ":message-type": "event"}
    stream = b"".join(encode_event(headers, payload(letter)) for letter in MAIL)
    kind = ((b"content-type", b"application/vnd.amazon.eventstream"),)
    made = record(PROMPT, stream, headers=kind, begin={"wire": "bedrock", "path": "/model/m/converse-stream"})
    parser = EventStreamParser()
    frames = parser.feed(made.response.head or b"")
    assert "".join(text_of(frame.payload) for frame in frames) == "[EMAIL]"
    assert not parser.is_damaged


@pytest.mark.parametrize(
    ("body", "kind", "is_kept"),
    [
        (b"\x89PNG\r\n\x1a\n\xff\x00" * 50, b"image/png", True),
        (b"\xff\xfb\x90\x00" * 50, b"audio/mpeg", True),
        (b"%PDF-1.7\n\xff\xfe\x00\x01" * 50, b"application/pdf", False),
        (b"\xff\xfe\x00\x01" * 50, b"application/octet-stream", False),
        (b"PK\x03\x04\xff\xfe\x00" * 50, b"application/zip", False),
        (f"not a picture but {MAIL}".encode(), b"image/png", True),
        ("für alice.smith@example.com".encode("latin-1"), b"text/plain", True),
    ],
)
def test_what_is_no_text_is_kept_only_if_it_is_sound_or_a_picture(body: bytes, kind: bytes, is_kept: bool) -> None:
    made = record(PROMPT, body, headers=((b"content-type", kind),))
    assert (made.response.head is not None) is is_kept
    assert MAIL.encode() not in (made.response.head or b"")
    assert ("redaction_failed" in made.privacy) is not is_kept


@pytest.mark.parametrize("coding", [b"gzip", b"compress", b"br"])
def test_a_coding_that_cannot_be_undone_keeps_the_body_out_of_the_store(coding: bytes) -> None:
    made = record(PROMPT, b"\x01" + PERSONAL, headers=(*JSON_HEADERS, (b"content-encoding", coding)))
    assert (made.response.head, made.request.head) == (None, None)
    assert made.privacy == ("redaction_failed",)
    assert [each for each in made.tallies if each.name == "glassline_redaction_failures_total"]


def test_when_redaction_fails_no_text_of_a_stranger_is_kept_but_the_money_is() -> None:
    policy = {"record": {"redact": ["email", {"name": "slow", "pattern": "(a|aa)+$"}]}}
    prompt = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "a" * 100 + "! " + MAIL}]})
    begin = {"user": MAIL, "session": MAIL, "tags": {"to": MAIL}, "path": f"/chat/completions?a={MAIL}"}
    made = record(prompt.encode(), policy=policy, begin=begin)
    assert made.privacy == ("redaction_failed",)
    assert MAIL not in everything(made)
    assert (made.request.head, made.response.head, made.request.sha256) == (None, None, b"")
    assert made.cost.nano_usd == 1000 * 150 + 100 * 600


def test_the_facts_of_an_exchange_that_cannot_be_interpreted_are_redacted_too() -> None:
    exchange = make_exchange(make_begin(user=MAIL, path=f"/x?to={MAIL}", headers=((b"x-to", MAIL.encode()),)))
    assert MAIL not in everything(interpreter(json.dumps(POLICY)).facts(exchange))


@pytest.mark.parametrize("policy", [{"bodies": "none"}, {"sample": {"rate": 0, "always": []}}, {}])
def test_what_a_body_says_is_not_kept_elsewhere_when_the_body_is_not(policy: dict[str, Any]) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "mail", "arguments": '{"to":"somebody"}'}}
    answer = json.loads(ANSWER)
    answer["choices"][0]["message"]["tool_calls"] = [call]
    no_store = "" if policy else "response"
    made = record(PROMPT, json.dumps(answer).encode(), policy={"record": policy}, begin={"no_store": no_store})
    assert [(each.name, each.arguments) for each in made.reading.tool_calls] == [("mail", "")]
    error = json.dumps({"error": {"message": "you said somebody", "type": "invalid"}}).encode()
    failed = record(PROMPT, error, policy={"record": policy}, begin={"no_store": no_store}, status=400)
    assert failed.reading.error_message is None
    assert failed.reading.error_type == "invalid"


def test_a_text_in_another_coding_of_letters_is_not_kept() -> None:
    made = record(PERSONAL.decode().encode("utf-16-le"))
    assert made.privacy == ("redaction_failed",)
    assert made.request.head is None


@pytest.mark.parametrize("is_cut", [True, False], ids=["cut in a frame", "no frames at all"])
def test_what_is_no_frame_of_a_binary_stream_is_not_kept(is_cut: bool) -> None:
    first = encode_event({":event-type": "contentBlockDelta", ":error-message": MAIL}, b'{"delta":{"text":"hi"}}')
    second = encode_event({":event-type": "contentBlockDelta"}, json.dumps({"delta": {"text": MAIL}}).encode())
    kind = ((b"content-type", b"application/vnd.amazon.eventstream"),)
    made = record(PROMPT, first + second[:-5] if is_cut else MAIL.encode(), headers=kind)
    assert MAIL not in everything(made)
    assert made.response.edit == "redacted_cut"
    if is_cut:
        (frame,) = EventStreamParser().feed(made.response.head or b"")
        assert frame.payload == b'{"delta":{"text":"hi"}}'
        assert frame.headers[":error-message"] == "[EMAIL]"


def test_the_lines_of_a_batch_are_not_read_as_one_text() -> None:
    made = record(b'{"to":"alice@example.com"}\n{"to":"carol"}\n')
    assert made.request.head == b'{"to":"[EMAIL]"}\n{"to":"carol"}\n'
