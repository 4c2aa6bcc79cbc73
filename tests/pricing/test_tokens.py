import base64
import lzma
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing.encodings import EncodingCorrupt, build_encoding, definition_of, load_encoding
from pricing.images import image_size
from pricing.tokens import _encoded_length, count_chat, count_text, encoding_name, estimate_input

DATA = Path(__file__).parents[2] / "pricing" / "data"

# The example of OpenAI's cookbook, "How to count tokens with tiktoken"; its figures are what the API reported.
COOKBOOK_MESSAGES = [
    {
        "role": "system",
        "content": "You are a helpful, pattern-following assistant that translates corporate jargon into plain English.",
    },
    {"role": "system", "name": "example_user", "content": "New synergies will help drive top-line growth."},
    {"role": "system", "name": "example_assistant", "content": "Things working well together will increase revenue."},
    {
        "role": "system",
        "name": "example_user",
        "content": "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage.",
    },
    {
        "role": "system",
        "name": "example_assistant",
        "content": "Let's talk later when we're less busy about how to do better.",
    },
    {
        "role": "user",
        "content": "This late pivot means we don't have time to boil the ocean for the client deliverable.",
    },
]
COOKBOOK_TOOL_MESSAGES = [
    {"role": "system", "content": "You are a helpful assistant that can answer to questions about the weather."},
    {"role": "user", "content": "What's the weather like in San Francisco?"},
]
COOKBOOK_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_current_weather",
            "description": "Get the current weather in a given location",
            "parameters": {
                "type": "object",
                "properties": {
                    "location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"},
                    "unit": {
                        "type": "string",
                        "description": "The unit of temperature to return",
                        "enum": ["celsius", "fahrenheit"],
                    },
                },
                "required": ["location"],
            },
        },
    }
]


@pytest.mark.parametrize(
    ("model", "tokens"), [("gpt-3.5-turbo", 129), ("gpt-4-0613", 129), ("gpt-4o", 124), ("gpt-4o-mini", 124)]
)
def test_messages_count_as_the_api_counted_them(model: str, tokens: int) -> None:
    assert count_chat(COOKBOOK_MESSAGES, None, model) == tokens
    assert estimate_input({"messages": COOKBOOK_MESSAGES}, "chat", model) == tokens


@pytest.mark.parametrize(
    ("model", "tokens"), [("gpt-3.5-turbo", 105), ("gpt-4", 105), ("gpt-4o", 101), ("gpt-4o-mini", 101)]
)
def test_functions_count_as_the_api_counted_them(model: str, tokens: int) -> None:
    assert count_chat(COOKBOOK_TOOL_MESSAGES, COOKBOOK_TOOLS, model) == tokens
    assert estimate_input({"messages": COOKBOOK_TOOL_MESSAGES, "tools": COOKBOOK_TOOLS}, "chat", model) == tokens


def test_the_flat_function_form_of_responses_counts_the_same() -> None:
    flat = [{"type": "function", **COOKBOOK_TOOLS[0]["function"]}]  # type: ignore[dict-item]
    request = {"input": COOKBOOK_TOOL_MESSAGES, "tools": flat}
    assert estimate_input(request, "responses", "gpt-4o") == 101


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-4o", "o200k_base"),
        ("gpt-6.1-sol", "o200k_base"),
        ("o3", "o200k_base"),
        ("gpt-4", "cl100k_base"),
        ("gpt-4-turbo-2024-04-09", "cl100k_base"),
        ("gpt-4.1-mini", "o200k_base"),
        ("ft:gpt-3.5-turbo-0125:acme::x", "cl100k_base"),
        ("text-embedding-3-small", "cl100k_base"),
        ("openai/gpt-oss-120b", "o200k_base"),
        ("a-stranger", "o200k_base"),
        ("", "o200k_base"),
    ],
)
def test_every_model_has_an_encoding(model: str, name: str) -> None:
    assert encoding_name(model) == name


@pytest.mark.parametrize(
    ("name", "text", "tokens"),
    [
        # Token ids that tiktoken's documentation and its own tests show.
        ("cl100k_base", "tiktoken is great!", [83, 1609, 5963, 374, 2294, 0]),
        ("cl100k_base", "hello world", [15339, 1917]),
        ("o200k_base", "hello world", [24912, 2375]),
    ],
)
def test_the_shipped_encodings_give_the_known_tokens(name: str, text: str, tokens: list[int]) -> None:
    assert load_encoding(name).encode_ordinary(text) == tokens


def test_what_looks_like_a_special_token_counts_as_text() -> None:
    assert count_text("<|endoftext|>", "gpt-4o") > 1


def test_a_claude_model_counts_more_than_the_encoding_says() -> None:
    text = "The quick brown fox jumps over the lazy dog. " * 20
    plain = count_text(text, "gpt-4o")
    assert count_text(text, "claude-sonnet-4-5") == -(-plain * 12 // 10)
    assert count_text(text, "claude-opus-5") == -(-plain * 16 // 10)


@pytest.mark.parametrize("text", ["a", " ", "\t", "\u00a0", "\u2028", "\n", "é", "漢", "😀", "\ud800", "\x00", " x"])
@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4"])
def test_a_megabyte_of_anything_is_counted(text: str, model: str) -> None:
    count = count_text(text * (1_000_000 // len(text)), model)
    assert 1000 < count <= 3_000_000


def test_cutting_long_white_space_hardly_changes_the_count() -> None:
    text = "x" + " " * 450_000 + "y"
    assert abs(count_text(text, "gpt-4o") - len(load_encoding("o200k_base").encode_ordinary(text))) <= 8


def test_a_panic_of_the_tokenizer_does_not_end_the_process() -> None:
    assert _encoded_length("o200k_base", " " * 1_000_000) == 250_000


@pytest.mark.parametrize("name", ["o200k_base", "cl100k_base"])
def test_a_damaged_rank_file_is_a_clear_error(name: str) -> None:
    packed = (DATA / f"{name}.tiktoken.xz").read_bytes()
    damaged = bytearray(packed)
    damaged[len(packed) // 2] ^= 1
    ranks = lzma.decompress(packed)
    for wrong in (
        b"",
        bytes(damaged),
        packed[:-100],
        lzma.compress(ranks[:-1], preset=0),
        lzma.compress(ranks.swapcase(), preset=0),
    ):
        with pytest.raises(EncodingCorrupt, match=name):
            build_encoding(definition_of(name), wrong)


def test_counting_needs_no_network_and_leaves_no_file(tmp_path: Path) -> None:
    script = (
        "import socket\n"
        "def refuse(*args, **kwargs): raise SystemExit('a socket was opened')\n"
        "socket.socket = socket.create_connection = socket.getaddrinfo = refuse\n"
        "from pricing.tokens import count_text\n"
        "print(count_text('hello world', 'gpt-4o'), count_text('hello world', 'gpt-4'))\n"
    )
    environment = {**os.environ, "TIKTOKEN_CACHE_DIR": str(tmp_path), "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=DATA.parents[1],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "2 2\n", "")
    assert list(tmp_path.iterdir()) == []


def chat_with(part: Mapping[str, object]) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, part]}]}


def tokens_of_image(model: str, url: str, detail: str = "auto") -> int:
    with_image = estimate_input(
        chat_with({"type": "image_url", "image_url": {"url": url, "detail": detail}}), "chat", model
    )
    without = estimate_input(chat_with({"type": "text", "text": ""}), "chat", model)
    assert with_image is not None
    assert without is not None
    return with_image - without


def png(width: int, height: int) -> str:
    head = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big")
    return "data:image/png;base64," + base64.b64encode(head + b"\x08\x06" + bytes(1000)).decode()


@pytest.mark.parametrize(
    ("model", "width", "height", "tokens"),
    [
        ("gpt-4o", 1024, 1024, 765),  # the vision guide's examples
        ("gpt-4o", 2048, 4096, 1105),
        ("gpt-4o", 4096, 8192, 1105),
        ("gpt-4o", 512, 512, 255),
        ("gpt-4o-mini", 1024, 1024, 2833 + 4 * 5667),
        ("gpt-5.5", 256, 256, 77),  # measured
        ("gpt-5.5", 1024, 1024, 1229),
        ("gpt-6-sol", 1920, 1080, 2448),
    ],
)
def test_a_picture_counts_by_its_size(model: str, width: int, height: int, tokens: int) -> None:
    assert tokens_of_image(model, png(width, height)) == tokens


def test_a_picture_of_low_detail_counts_the_base_and_a_remote_one_as_a_square_of_1024() -> None:
    assert tokens_of_image("gpt-4o", png(4000, 4000), detail="low") == 85
    assert tokens_of_image("gpt-4o", "https://example.com/cat.png") == 765


@pytest.mark.parametrize(
    ("head", "size"),
    [
        (b"GIF89a" + (300).to_bytes(2, "little") + (200).to_bytes(2, "little"), (300, 200)),
        (
            b"\xff\xd8\xff\xe0\x00\x10"
            + bytes(14)
            + b"\xff\xc0\x00\x11\x08"
            + (480).to_bytes(2, "big")
            + (640).to_bytes(2, "big"),
            (640, 480),
        ),
        (b"RIFF\0\0\0\0WEBPVP8X" + bytes(8) + (799).to_bytes(3, "little") + (599).to_bytes(3, "little"), (800, 600)),
        (b"RIFF\0\0\0\0WEBPVP8L" + bytes(4) + b"\x2f" + ((99) | (49 << 14)).to_bytes(4, "little"), (100, 50)),
        (b"RIFF\0\0\0\0WEBPVP8 " + bytes(7) + b"\x9d\x01\x2a" + b"\x20\x03\x58\x02", (800, 600)),
        (b"BM not one we read", None),
        (b"\x89PNG\r\n\x1a\n", None),
        (b"", None),
    ],
)
def test_the_size_of_a_picture_is_read_from_its_head(head: bytes, size: tuple[int, int] | None) -> None:
    assert image_size("data:image/x;base64," + base64.b64encode(head + b"\0\0").decode()) == size


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (chat_with({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}), "chat"),
        (chat_with({"type": "file", "file": {"file_id": "file-1"}}), "chat"),
        ({"input": "and then?", "previous_response_id": "resp_1"}, "responses"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "responses"),
        ({"input": "news?", "tools": [{"type": "web_search"}]}, "responses"),
        ({"prompt": {"id": "pmpt_1"}}, "responses"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "file-1"}]}]}, "responses"),
        ({"anything": 1}, "images"),
    ],
)
def test_what_is_not_in_the_request_makes_the_estimate_unknown(request_: dict[str, object], kind: str) -> None:
    assert estimate_input(request_, kind, "gpt-4o") is None


@pytest.mark.parametrize(
    ("request_", "kind", "tokens"),
    [
        ({"prompt": "hello world"}, "completions", 2),
        ({"prompt": ["hello world", "hello world"]}, "completions", 4),
        ({"prompt": [1, 2, 3]}, "completions", 3),
        ({"prompt": [[1, 2, 3], [4]]}, "completions", 4),
        ({"input": "hello world"}, "embeddings", 2),
        ({"input": ["hello world", "hello"]}, "embeddings", 3),
        ({"input": "hello world"}, "responses", 3 + 1 + 2 + 3),
        ({"input": "hello world", "instructions": "hello"}, "responses", 3 + 1 + 2 + 3 + 3 + 1 + 1),
        (
            {
                "input": [
                    {
                        "type": "message",
                        "id": "m",
                        "role": "user",
                        "content": [{"type": "input_text", "text": "hello world"}],
                    }
                ]
            },
            "responses",
            3 + 1 + 2 + 3,
        ),
        ({}, "chat", 3),
    ],
)
def test_each_kind_of_request_is_estimated(request_: dict[str, object], kind: str, tokens: int) -> None:
    assert estimate_input(request_, kind, "gpt-4o") == tokens


KEYS = [
    "role",
    "content",
    "name",
    "type",
    "text",
    "image_url",
    "url",
    "tools",
    "function",
    "parameters",
    "properties",
    "enum",
    "items",
    "description",
    "input",
    "prompt",
    "detail",
    "messages",
    "instructions",
    "arguments",
]
WORDS = ["function", "image_url", "input_image", "text", "data:,", "data:image/png;base64,=="]
json: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(codec=None), max_size=20)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(KEYS), st.one_of(inner, st.sampled_from(WORDS)), max_size=5),
    ),
    max_leaves=25,
)


@settings(max_examples=300)
@given(
    request=st.dictionaries(
        st.sampled_from(["messages", "tools", "input", "prompt", "instructions", "functions"]), json
    ),
    kind=st.sampled_from(["chat", "completions", "responses", "embeddings", "?"]),
    model=st.sampled_from(["gpt-4o", "gpt-4", "gpt-5.5", "claude-opus-5", "?"]),
)
def test_no_request_makes_an_estimate_raise(request: dict[str, object], kind: str, model: str) -> None:
    tokens = estimate_input(request, kind, model)
    assert tokens is None or tokens >= -3
    assert count_chat(request.get("messages"), request.get("tools"), model) >= 0


def test_a_number_too_long_to_write_is_not_counted() -> None:
    assert estimate_input({"messages": [{"content": 10**5000}]}, "chat", "gpt-4o") == 3 + 3


def test_nesting_without_end_is_not_followed() -> None:
    nested: object = "hello"
    for _ in range(100_000):
        nested = [nested]
    assert estimate_input({"messages": [{"role": "user", "content": nested}]}, "chat", "gpt-4o") is None
    assert estimate_input({"prompt": nested}, "completions", "gpt-4o") is not None
