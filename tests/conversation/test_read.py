"""What was said, whatever the API: of real captures, of hostile bodies, of anything at all."""

from __future__ import annotations

import base64
import json
import time
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.conversation import (
    Conversation,
    Json,
    Media,
    Raw,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    read_conversation,
    size_of,
)
from proxy.records import Exchange
from proxy.websocket import Opcode
from tests.wire.exchanges import CAPTURES, DONE, captured, delta, make_exchange, sse
from tests.wire.sessions import make_session

NAMES = sorted(path.name.removesuffix(".response.http") for path in CAPTURES.glob("*.response.http"))
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(20)).decode()


def said(conversation: Conversation) -> str:
    """Return everything in the answers that people read."""
    parts = [part for answer in conversation.answers for part in answer.message.parts]
    return "".join(part.text for part in parts if isinstance(part, Text | Json))


@pytest.mark.parametrize("name", NAMES)
def test_every_capture_is_read_and_can_be_encoded(name: str) -> None:
    conversation = read_conversation(captured(name))
    msgspec.json.encode(conversation)
    if "refused" in name or "error" in name:
        return
    assert conversation.answers or "video" in name
    assert conversation.messages or "resumed" in name


@pytest.mark.parametrize(
    "name",
    [
        *("openai_chat_stream", "deepseek_chat_stream", "mistral_chat_stream", "anthropic_messages_stream"),
        *(
            "openai_responses_stream",
            "gemini_stream",
            "ollama_chat_stream",
            "bedrock_converse_stream",
            "vllm_chat_stream",
        ),
    ],
)
def test_a_stream_says_what_its_reader_understood(name: str) -> None:
    from proxy.wire import read

    exchange = captured(name)
    conversation, reading = read_conversation(exchange), read(exchange)
    assert said(conversation) == (reading.output_text or "")
    calls = [part for answer in conversation.answers for part in answer.message.parts if isinstance(part, ToolCall)]
    assert [(call.name, call.id) for call in calls] == [(call.name, call.id) for call in reading.tool_calls]
    thoughts = [
        part.text for answer in conversation.answers for part in answer.message.parts if isinstance(part, Thinking)
    ]
    assert "".join(thoughts) == (reading.reasoning_text or "")
    assert "unfinished" not in conversation.answers[0].flags


CHAT: dict[str, Any] = {
    "model": "m",
    "temperature": 0.2,
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Where is it?"}, {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "get_order", "arguments": '{"id": 7}'}}]},
        {"role": "tool", "tool_call_id": "c1", "content": '{"status": "lost"}'},
    ],
    "tools": [{"type": "function", "function": {"name": "get_order", "description": "Looks.", "parameters": {"type": "object"}}}],
}  # fmt: skip


def test_a_chat_has_instructions_pictures_calls_and_results() -> None:
    answer = {"choices": [{"message": {"role": "assistant", "content": "Lost."}, "finish_reason": "stop"}]}
    conversation = read_conversation(make_exchange(CHAT, answer))
    assert [message.role for message in conversation.messages] == ["system", "user", "assistant", "tool"]
    system, user, call, result = (message.parts for message in conversation.messages)
    assert system == (Text("Be brief."),)
    assert user == (Text("Where is it?"), Media("image", "image/png", 28, 0))
    assert call == (ToolCall("c1", "get_order", '{"id": 7}', True),)
    assert result == (ToolResult("c1", "get_order", (Text('{"status": "lost"}'),)),)
    assert conversation.blobs[0].content()[:4] == b"\x89PNG"
    assert conversation.tools[0].name == "get_order"
    assert conversation.parameters == {"model": "m", "temperature": 0.2}
    assert [(said(conversation), conversation.answers[0].finish_reason, conversation.answers[0].flags)] == [
        ("Lost.", "stop", ())
    ]


@pytest.mark.parametrize(
    ("asked", "message", "reason", "flags"),
    [
        ({}, {"content": "so far"}, "length", ("truncated",)),
        ({}, {"content": ""}, "stop", ("empty",)),
        ({}, {"content": None, "refusal": "I will not."}, "stop", ("refused",)),
        ({}, {"content": "x"}, "content_filter", ("filtered",)),
        ({"response_format": {"type": "json_object"}}, {"content": '{"a": 1'}, "length", ("truncated", "invalid_json")),
        ({"response_format": {"type": "json_object"}}, {"content": '{"a": 1}'}, "stop", ()),
        ({}, {"tool_calls": [{"id": "1", "function": {"name": "f", "arguments": '{"a": '}}]}, "length", ("truncated", "invalid_arguments")),
        ({}, {"tool_calls": [{"id": "1", "function": {"name": "f", "arguments": ""}}]}, "tool_calls", ()),
    ],
)  # fmt: skip
def test_what_is_to_be_noticed_of_an_answer_is_flagged(
    asked: dict[str, Any], message: dict[str, Any], reason: str, flags: tuple[str, ...]
) -> None:
    answer = {"choices": [{"message": {"role": "assistant"} | message, "finish_reason": reason}]}
    assert read_conversation(make_exchange({"messages": []} | asked, answer)).answers[0].flags == flags


def test_a_stream_that_breaks_off_is_read_up_to_there_and_says_so() -> None:
    body = sse(delta({"role": "assistant", "content": "Once upon"}), delta({"content": " a ti"}))
    conversation = read_conversation(make_exchange({"messages": [], "stream": True}, body[:-20] + b'"cont'))
    assert said(conversation).startswith("Once upon")
    assert conversation.answers[0].flags == ("unfinished",)


def test_two_calls_of_a_stream_come_out_apart_and_whole() -> None:
    pieces = [
        {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"x"'}}]},
        {"tool_calls": [{"index": 1, "id": "b", "function": {"name": "g", "arguments": "{}"}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]},
    ]
    body = sse(*[delta(piece) for piece in pieces], delta({}, finish_reason="tool_calls")) + DONE
    conversation = read_conversation(make_exchange({"messages": [], "stream": True}, body))
    assert conversation.answers[0].message.parts == (
        ToolCall("a", "f", '{"x": 1}', True),
        ToolCall("b", "g", "{}", True),
    )


def test_thoughts_words_and_calls_of_anthropic_stay_in_their_order() -> None:
    content = [
        {"type": "thinking", "thinking": "Hm.", "signature": "x"},
        {"type": "redacted_thinking", "data": "zzz"},
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": "it"}},
    ]
    request = {
        "system": [{"type": "text", "text": "Be kind."}],
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": content},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "is_error": True, "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}]}]},
        ],
    }  # fmt: skip
    answer = {"type": "message", "role": "assistant", "content": content[2:3], "stop_reason": "max_tokens"}
    conversation = read_conversation(make_exchange(request, answer, path="/v1/messages", wire="anthropic"))
    assert [message.role for message in conversation.messages] == ["system", "user", "assistant", "tool"]
    assert conversation.messages[2].parts == (
        Thinking("Hm."),
        Thinking(""),
        Text("I look."),
        ToolCall("t1", "look", '{"at":"it"}', True),
    )
    result = conversation.messages[3].parts[0]
    assert isinstance(result, ToolResult)
    assert (result.name, result.is_error, result.parts) == ("look", True, (Media("image", "image/png", 28, 0),))
    assert conversation.answers[0].flags == ("truncated",)


def test_what_a_model_said_in_one_go_is_one_message_of_a_response() -> None:
    request = {
        "instructions": "Be brief.",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "42"},
        ],
        "text": {"format": {"type": "json_schema"}},
    }
    output = [
        {"type": "web_search_call", "id": "w", "action": {"type": "search"}},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "{}"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
    ]
    answer = {"object": "response", "status": "completed", "output": output}
    conversation = read_conversation(make_exchange(request, answer, path="/responses"))
    assert [message.role for message in conversation.messages] == ["system", "user", "assistant", "tool"]
    assert conversation.messages[2].parts == (Thinking("Hm."), ToolCall("c", "f", "{}", True))
    assert conversation.messages[3].parts == (ToolResult("c", "f", (Text("42"),)),)
    search, text, refusal = conversation.answers[0].message.parts
    assert isinstance(search, Raw)
    assert search.label == "web_search_call"
    assert (text, refusal) == (Json("{}", True), Refusal("No."))
    assert conversation.answers[0].flags == ("refused",)


def test_gemini_says_what_its_parts_hold() -> None:
    request = {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Look"}, {"inlineData": {"mimeType": "audio/wav", "data": PIXEL}}]},
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"a": 1}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"b": 2}}}]},
        ],
        "tools": [{"functionDeclarations": [{"name": "f", "description": "d"}]}],
    }
    parts = [
        {"text": "hm", "thought": True},
        {"text": "Yes."},
        {"executableCode": {"language": "PYTHON", "code": "1+"}},
    ]
    answer = {"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}]}
    conversation = read_conversation(
        make_exchange(request, answer, path="/v1beta/models/gemini-2.5-pro:generateContent", wire="gemini")
    )
    assert [message.role for message in conversation.messages] == ["system", "user", "assistant", "tool"]
    assert conversation.messages[1].parts == (Text("Look"), Media("audio", "audio/wav", 28, 0))
    assert conversation.messages[2].parts == (ToolCall(None, "f", '{"a":1}', True),)
    assert conversation.messages[3].parts == (ToolResult(None, "f", (Text('{"b":2}'),)),)
    assert conversation.answers[0].message.parts[:2] == (Thinking("hm"), Text("Yes."))
    assert conversation.answers[0].message.parts[2] == ToolCall(None, "code_execution", "1+", True)
    assert conversation.tools[0].description == "d"


def test_vectors_are_counted_and_not_shown() -> None:
    answer = {"data": [{"embedding": [0.1] * 256}, {"embedding": [0.2] * 256}]}
    conversation = read_conversation(make_exchange({"input": ["a", "b"]}, answer, path="/embeddings"))
    assert [message.parts for message in conversation.messages] == [(Text("a"),), (Text("b"),)]
    assert conversation.answers[0].message.parts == (Raw("vectors", "2 vectors of 256 numbers"),)


def test_an_error_is_shown_as_it_came() -> None:
    conversation = read_conversation(make_exchange(CHAT, {"error": {"message": "no"}}, status=500))
    (answer,) = conversation.answers
    assert answer.message.role == "error"
    assert answer.message.parts == (Raw("JSON", '{"error":{"message":"no"}}'),)


def test_what_comes_as_bytes_is_a_blob() -> None:
    exchange = make_exchange({"input": "Hello"}, b"ID3" + bytes(90), path="/audio/speech", content_type=b"audio/mpeg")
    conversation = read_conversation(exchange)
    assert conversation.messages[0].parts == (Text("Hello"),)
    assert conversation.answers[0].message.parts == (Media("audio", "audio/mpeg", 93, 0),)
    assert conversation.blobs[0].content() == b"ID3" + bytes(90)


HOSTILE = [
    "<script>canary()</script>",
    "\u202emirrored\u202c \u2066isolated",
    "Z\u0351\u036b\u0343a\u0363\u0348lgo" * 50,
    "w" * 100_000,
    "NUL \0 inside",
    "\ud83d alone",
    "\ud83d\ude00 together",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_comes_through_and_can_be_encoded(text: str) -> None:
    body = json.dumps({"messages": [{"role": text, "content": text}]}).encode()
    answer = json.dumps({"choices": [{"message": {"content": text}, "finish_reason": text}]}).encode()
    conversation = read_conversation(make_exchange(body, answer))
    msgspec.json.encode(conversation)
    shown = said(conversation)
    assert shown == text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert conversation.messages[0].parts == (Text(shown),)


def test_a_body_that_was_cut_shows_all_messages_before_the_cut() -> None:
    messages = [{"role": "user", "content": f"{number} " + "x" * 500} for number in range(40)]
    exchange = make_exchange({"model": "m", "messages": messages, "tools": []}, b"{}", capture_limit=6000)
    conversation = read_conversation(exchange)
    assert 8 < len(conversation.messages) < 14
    assert conversation.messages[3].parts == (Text(messages[3]["content"]),)
    assert "request_cut" in conversation.problems


def test_five_thousand_messages_and_ten_megabytes_take_a_moment() -> None:
    messages = [{"role": "user" if number % 2 else "assistant", "content": "word " * 400} for number in range(5000)]
    exchange = make_exchange({"messages": messages}, b"{}")
    began = time.process_time()
    conversation = read_conversation(exchange)
    assert time.process_time() - began < 10
    assert len(conversation.messages) == 5000
    assert sum(map(size_of, conversation.messages)) == 5000 * 2000


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "messages",
                    "role",
                    "content",
                    "text",
                    "type",
                    "parts",
                    "input",
                    "output",
                    "choices",
                    "message",
                    "delta",
                    "tool_calls",
                    "function",
                    "name",
                    "arguments",
                    "id",
                    "image_url",
                    "url",
                    "input_audio",
                    "data",
                    "file",
                    "source",
                    "media_type",
                    "thinking",
                    "tool_use",
                    "tool_result",
                    "toolUse",
                    "toolResult",
                    "functionCall",
                    "functionResponse",
                    "inlineData",
                    "candidates",
                    "content_block",
                    "system",
                    "contents",
                    "instructions",
                    "prompt",
                    "index",
                    "reasoning_details",
                    "summary",
                    "action",
                    "item",
                    "response",
                    "error",
                    "status",
                    "audio",
                    "images",
                    "embedding",
                ]
            )
            | st.text(max_size=4),
            inner,
            max_size=5,
        )
    ),
    max_leaves=40,
)
PLACES = [
    ("openai", "/chat/completions"),
    ("openai", "/completions"),
    ("openai", "/responses"),
    ("openai", "/embeddings"),
    ("openai", "/images/generations"),
    ("openai", "/nobody/knows"),
    ("anthropic", "/v1/messages"),
    ("gemini", "/v1beta/models/g:generateContent"),
    ("gemini", "/v1beta/models/g:streamGenerateContent"),
    ("gemini", "/v1beta/models/g:embedContent"),
    ("bedrock", "/model/m/converse"),
    ("bedrock", "/model/m/invoke"),
    ("ollama", "/api/chat"),
    ("ollama", "/api/generate"),
    ("ollama", "/api/embed"),
    ("none", "/x"),
]


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


@settings(max_examples=300, deadline=None)
@given(
    JSONS.map(dumped) | st.binary(max_size=100),
    JSONS.map(dumped)
    | st.binary(max_size=100)
    | st.lists(JSONS, max_size=4).map(lambda events: b"".join(b"data: " + dumped(event) + b"\n\n" for event in events)),
    st.sampled_from(PLACES),
    st.sampled_from([200, 400, None]),
)
def test_whatever_comes_is_read_and_can_be_encoded(
    request: bytes, response: bytes, place: tuple[str, str], status: int | None
) -> None:
    wire, path = place
    exchange = make_exchange(request, response, path=path, wire=wire, status=status)
    conversation = read_conversation(exchange)
    msgspec.json.encode(msgspec.structs.replace(conversation, blobs=()))
    for blob in conversation.blobs:
        blob.content()
    numbers = [part.blob for part in _media(conversation) if part.blob is not None]
    assert sorted(numbers) == list(range(len(conversation.blobs)))


def _media(conversation: Conversation) -> list[Media]:
    messages = [*conversation.messages, *(answer.message for answer in conversation.answers)]
    parts = [part for message in messages for part in message.parts]
    inner = [each for part in parts if isinstance(part, ToolResult) for each in part.parts]
    return [part for part in (*parts, *inner) if isinstance(part, Media)]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["openai_chat_stream", "anthropic_messages_stream", "gemini_stream", "openai_responses_stream"]),
    st.data(),
)
def test_a_stream_that_is_cut_anywhere_says_a_beginning_of_what_it_would_have_said(
    name: str, data: st.DataObject
) -> None:
    exchange = captured(name)
    whole = said(read_conversation(exchange))
    at = data.draw(st.integers(0, len(exchange.response.head)))
    body = msgspec.structs.replace(exchange.response, head=exchange.response.head[:at])
    cut = said(read_conversation(msgspec.structs.replace(exchange, response=body)))
    assert whole.startswith(cut)


def test_a_session_of_openai_s_is_what_both_sides_said() -> None:
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Are you there?"}]}
    asked: list[Any] = [
        {
            "type": "session.update",
            "session": {"instructions": "Be brief.", "tools": [{"type": "function", "name": "f"}]},
        },
        {"type": "conversation.item.create", "item": item},
        {"type": "input_audio_buffer.append", "audio": PIXEL},
        {"type": "input_audio_buffer.append", "audio": PIXEL},
        {"type": "response.create"},
    ]
    output = [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Yes."}]}]
    answered = [{"type": "response.done", "response": {"status": "completed", "output": output}}]
    conversation = read_conversation(make_session(asked, answered))
    assert [message.role for message in conversation.messages] == ["system", "user", "user"]
    assert conversation.messages[1].parts == (Text("Are you there?"),)
    assert conversation.messages[2].parts == (Raw("sound", "56 bytes of sound, piece by piece"),)
    assert [tool.name for tool in conversation.tools] == ["f"]
    assert said(conversation) == "Yes."


def test_a_session_of_gemini_s_is_what_both_sides_said() -> None:
    asked: list[Any] = [
        {"setup": {"model": "models/g", "systemInstruction": {"parts": [{"text": "Be brief."}]}}},
        {"clientContent": {"turns": [{"role": "user", "parts": [{"text": "Hello?"}]}], "turnComplete": True}},
        {"realtimeInput": {"audio": {"mimeType": "audio/pcm", "data": PIXEL}}},
    ]
    turn = [{"serverContent": {"modelTurn": {"parts": [{"text": text}]}}} for text in ("Good ", "day.")]
    answered: list[Any] = [
        *turn,
        {"serverContent": {"turnComplete": True}},
        {"serverContent": {"modelTurn": {"parts": [{"text": "An"}]}}},
    ]
    path = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
    conversation = read_conversation(make_session(asked, answered, path=path, wire="gemini", opcode=Opcode.BINARY))
    assert [message.role for message in conversation.messages] == ["system", "user", "user"]
    assert [answer.message.parts for answer in conversation.answers] == [(Text("Good day."),), (Text("An"),)]
    assert conversation.answers[1].flags == ("unfinished",)


@given(st.lists(JSONS | st.binary(max_size=20), max_size=5), st.lists(JSONS | st.binary(max_size=20), max_size=5))
def test_whatever_a_session_says_is_read_and_can_be_encoded(asked: list[Any], answered: list[Any]) -> None:
    for wire, path in (
        ("openai", "/realtime"),
        ("gemini", "/ws/google.ai.generativelanguage.v1.G.BidiGenerateContent"),
    ):
        conversation = read_conversation(make_session(asked, answered, path=path, wire=wire))
        msgspec.json.encode(msgspec.structs.replace(conversation, blobs=()))


def test_the_fields_and_files_of_a_form_are_shown() -> None:
    lines = [
        *("--b", 'Content-Disposition: form-data; name="prompt"', "", "A cat"),
        *("--b", 'Content-Disposition: form-data; name="size"', "", "1024x1024"),
        *("--b", 'Content-Disposition: form-data; name="image[]"; filename="x.png"', "", "\x89PNG"),
        *("--b--", ""),
    ]
    body = "\r\n".join(lines).encode("latin-1")
    answer = {"data": [{"b64_json": PIXEL}, {"url": "https://elsewhere.invalid/a.png"}]}
    conversation = read_conversation(
        make_exchange(body, answer, path="/images/edits", request_type=b"multipart/form-data; boundary=b")
    )
    (message,) = conversation.messages
    assert message.parts == (Text("A cat"), Media("image", "image/*", 4, 0, name="image[]"))
    assert conversation.parameters == {"size": "1024x1024"}
    assert conversation.answers[0].message.parts == (
        Media("image", "image/png", 28, 1),
        Media("image", "image/*", url="https://elsewhere.invalid/a.png"),
    )


def test_nesting_without_end_is_shown_as_it_is() -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    for path in ("/chat/completions", "/nobody/knows"):
        msgspec.json.encode(read_conversation(make_exchange(b'{"messages":' + deep + b"}", deep, path=path)))


def test_a_reader_of_one_api_never_sees_a_blob_twice() -> None:
    exchange: Exchange = make_exchange(CHAT, b"{}")
    blobs = read_conversation(exchange).blobs
    assert len(blobs) == len({id(blob) for blob in blobs}) == 1
    assert all(one != other for one, other in pairwise(blobs))
