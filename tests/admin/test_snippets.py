"""What is copied sends what was recorded: run by a real shell, a real Python and a real Node against a real socket."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.admin.snippets import LANGUAGES, Call, SnippetError
from proxy.admin.snippets.markdown import fenced, markdown
from proxy.conversation import read_conversation
from proxy.store.query import RequestRow
from tests.wire.exchanges import captured

KEY = "sk-test-0123456789"
EVIL = 'it\'s $(touch /tmp/never) `id` "quoted" \\ back\\n ! ; & | > < * ? [a] {b} ~ #\nnew line\ttab é 😀 \u2028 </script>'


class Server(http.server.ThreadingHTTPServer):
    """Remembers what it is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        assert isinstance(self.server, Server)
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.seen.append((self.command, self.path, headers, body))
        answer = b'{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[]}'
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def call(body: bytes, **changes: Any) -> Call:
    fields: dict[str, Any] = {
        "method": "POST",
        "upstream": "openai",
        "path": "/chat/completions",
        "dialect": "openai",
        "endpoint": "chat",
        "model": None,
        "headers": [
            ("Host", "localhost"),
            ("Content-Type", "application/json"),
            ("Authorization", "Bearer ***6789"),
            ("X-Note", 'it\'s; "fine" $HOME'),
            ("User-Agent", "sdk"),
        ],
        "body": body,
    }
    return Call(**fields | changes)


def run(language: str, text: str, server: Server, tmp_path: Path) -> None:
    environment = os.environ | {
        "GLASSLINE_URL": server.url,
        "OPENAI_API_KEY": KEY,
        "ANTHROPIC_API_KEY": KEY,
        "GEMINI_API_KEY": KEY,
    }
    file = tmp_path / {"curl": "call.sh", "python": "call.py", "javascript": "call.mjs"}[language]
    file.write_text(text, encoding="utf-8")
    command = [{"curl": "sh", "python": sys.executable, "javascript": "node"}[language], str(file)]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()


BODIES = {
    "plain": {"model": "m", "messages": [{"role": "user", "content": "Hello"}]},
    "hostile": {
        "model": "m",
        "messages": [{"role": "user", "content": EVIL}],
        "top_k": 5,
        "seed": None,
        "stop": ["\0"],
    },
    "long": {"model": "m", "messages": [{"role": "user", "content": "it's " * 60_000}]},
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_copied_sends_the_same_request_again(language: str, name: str, server: Server, tmp_path: Path) -> None:
    if (language == "curl" and shutil.which("curl") is None) or (language == "javascript" and not shutil.which("node")):
        pytest.skip("not installed")
    body = json.dumps(BODIES[name]).encode()
    run(language, LANGUAGES[language](call(body)), server, tmp_path)
    ((method, path, headers, sent),) = server.seen
    assert (method, path) == ("POST", "/openai/chat/completions")
    assert json.loads(sent) == BODIES[name]
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["x-note"] == 'it\'s; "fine" $HOME'
    if language != "python":
        assert sent == body


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        (
            "responses",
            {"model": "m", "input": "Hello", "instructions": "Be brief.", "store": False, "unheard_of": {"a": 1}},
        ),
        ("completions", {"model": "m", "prompt": ["a", "b"], "echo": True, "max_tokens": 3}),
        ("embeddings", {"model": "m", "input": ["a"], "dimensions": 8}),
        ("chat", {"model": "m", "messages": [], "stream": True, "top_k": 1, "temperature": 0.5, "tools": []}),
    ],
)
def test_python_sends_the_same_document_whatever_the_endpoint(
    endpoint: str, body: dict[str, Any], server: Server, tmp_path: Path
) -> None:
    path = "/chat/completions" if endpoint == "chat" else f"/{endpoint}"
    run("python", LANGUAGES["python"](call(json.dumps(body).encode(), path=path, endpoint=endpoint)), server, tmp_path)
    assert [(place, json.loads(sent)) for _, place, _, sent in server.seen] == [(f"/openai{path}", body)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_key_in_the_query_comes_from_the_environment(language: str, server: Server, tmp_path: Path) -> None:
    if (language == "curl" and shutil.which("curl") is None) or (language == "javascript" and not shutil.which("node")):
        pytest.skip("not installed")
    made = call(
        b'{"contents":[]}',
        upstream="gemini",
        path="/v1beta/models/g:generateContent?alt=json&key=***&x=a'b",
        dialect="gemini",
        endpoint="generate_content",
        headers=[("content-type", "application/json"), ("x-goog-api-key", "***6789")],
    )
    run(language, LANGUAGES[language](made), server, tmp_path)
    ((_, path, headers, sent),) = server.seen
    assert path.replace("%27", "'") == f"/gemini/v1beta/models/g:generateContent?alt=json&key={KEY}&x=a'b"
    assert headers["x-goog-api-key"] == KEY
    assert sent == b'{"contents":[]}'


@pytest.mark.parametrize("language", LANGUAGES)
def test_bytes_that_are_no_text_are_sent_as_they_were(language: str, server: Server, tmp_path: Path) -> None:
    if (language == "curl" and shutil.which("curl") is None) or (language == "javascript" and not shutil.which("node")):
        pytest.skip("not installed")
    body = bytes(range(256)) * 20
    made = call(body, path="/audio/transcriptions", endpoint="transcriptions")
    run(language, LANGUAGES[language](made), server, tmp_path)
    assert server.seen[0][3] == body


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_credential_is_in_what_is_copied_not_even_masked(language: str) -> None:
    headers = [("Authorization", "Bearer ***6789"), ("X-Secret-Key", "***wxyz"), ("cookie", "session=***")]
    text = LANGUAGES[language](call(b"{}", headers=headers, path="/chat/completions?api_key=***"))
    assert "***" not in text
    assert "6789" not in text
    assert "OPENAI_API_KEY" in text


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a `curl` that writes down what the shell hands to it."""
    folder = tmp_path_factory.mktemp("bin")
    script = '#!/bin/sh\nprintf "%s\\0" "$@" > "$OUT/arguments"\ncat > "$OUT/input"\n'
    (folder / "curl").write_text(script)
    (folder / "curl").chmod(0o755)
    return folder


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60).map(str.encode) | st.binary(max_size=60),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30),
    st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="?#*"), max_size=30),
)
def test_no_text_means_anything_to_a_shell(recorder: Path, tmp_path: Path, body: bytes, value: str, path: str) -> None:
    text = LANGUAGES["curl"](call(body, path=f"/{path}", headers=[("x-note", value)]))
    environment = {"PATH": f"{recorder}:{os.environ['PATH']}", "OUT": str(tmp_path), "GLASSLINE_URL": "http://g"}
    done = subprocess.run(
        ["sh", "-c", text], env=environment, capture_output=True, timeout=20, check=False, cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, b"")
    arguments = (tmp_path / "arguments").read_bytes().split(b"\0")[:-1]
    assert arguments[3].decode() == f"http://g/openai/{path}"
    header = f"x-note: {value}" if value else "x-note;"
    if "***" not in value:
        assert header.encode() in arguments
    sent = (
        (tmp_path / "input").read_bytes()
        if b"--data-raw" not in arguments
        else arguments[arguments.index(b"--data-raw") + 1]
    )
    assert sent == body


@pytest.mark.parametrize(("depth", "values"), [(900, 1), (300, 700_000), (3, 700_000)])
def test_what_takes_long_to_lay_out_is_copied_as_its_bytes(depth: int, values: int) -> None:
    # Laid out, 700,000 numbers in 300 lists take minutes; 900 lists are more than Python's stack.
    body = b'{"model":"m","messages":%b%b%b}' % (b"[" * depth, b",".join([b"1"] * values), b"]" * depth)
    call = Call("POST", "openai", "/v1/chat/completions", "openai", "chat", "m", (), body)
    program = LANGUAGES["python"](call)
    assert f"content = {body.decode()!r}\n" in program


def test_what_is_too_large_is_told() -> None:
    for make in LANGUAGES.values():
        with pytest.raises(SnippetError, match="download"):
            make(call(b"x" * 5_000_000))


@given(st.text(st.sampled_from("`~ax\n"), max_size=40))
def test_no_text_ends_the_block_that_it_stands_in(text: str) -> None:
    first, *rest = fenced(text).split("\n")
    assert rest[-1] == first.rstrip("json")
    assert not any(line.startswith(first) for line in rest[:-1])


def row(**changes: Any) -> RequestRow:
    fields: dict[str, Any] = dict.fromkeys(RequestRow.__struct_fields__)
    return RequestRow(**fields | {"id": "1", "status": 200, "endpoint": "chat", "outcome": "completed"} | changes)


def test_a_conversation_is_a_document() -> None:
    text = markdown(row(model="gpt`5\n# no"), read_conversation(captured("openai_chat")))
    assert text.startswith("# gpt'5 # no\n")
    assert "## User" in text
    assert "## Assistant" in text
