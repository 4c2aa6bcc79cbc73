"""Strings that stand nowhere else, as every secret and as a prompt; mixed traffic, faults, commands and crashes; then a
search of everything that Glassline wrote, showed or answered.

    canaries(directory, encrypted=True)["hits"] == {}
"""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Final

from tests.harness import Glassline, wait_until
from tests.harness.client import RawClient, exchange, post
from tests.harness.process import clean_environment
from tests.harness.stage import with_upstream
from tests.harness.upstream import STREAM_HEAD, Connection, ScriptedUpstream, answer_chat, chunk, event, with_length

INPUTS: Final = frozenset({"config.yaml", "bad.yaml", "admin-password", "encryption-key"})
"""The files in which the secrets were handed over."""
_MAY_HOLD: Final = {"data/records.db": ("prompt",), "data/journal/": ("prompt",)}
"""What may stand where when nothing is encrypted."""
_ERASED_WITHIN_S: Final = 20.0
"""Answers are in the journal as they came, until they are in the store and about a second longer. A machine that is busy
with other tests takes its time."""


_RELAYED: Final = {
    "stream": ("prompt",),
    "echo-plain": ("prompt", "provider_key"),
    "echo-request": ("prompt", "provider_key"),
}
"""Answers of the provider that repeat secrets, which the client gets as they are."""


@dataclass(frozen=True, slots=True)
class Planted:
    """What is searched for."""

    provider_key: str = field(default_factory=lambda: f"sk-proj-canary{secrets.token_hex(12)}")
    virtual_key: str = field(default_factory=lambda: f"gl-canary{secrets.token_hex(16)}")
    admin_password: str = field(default_factory=lambda: f"canary-password-{secrets.token_hex(8)}")
    encryption_key: str = field(default_factory=lambda: secrets.token_hex(32))
    prompt: str = field(default_factory=lambda: f"canary-prompt-{secrets.token_hex(8)}")
    wrong_key: str = field(default_factory=lambda: f"gl-wrong{secrets.token_hex(16)}")
    """One that a caller tries; it may be somebody's right key elsewhere."""

    def spellings(self) -> Iterator[tuple[str, bytes]]:
        """Yield each secret, in the forms in which it could leave."""
        for name in self.__slots__:
            value = getattr(self, name).encode()
            yield name, value
            yield name, base64.b64encode(value).rstrip(b"=")
            yield name, value.hex().encode()
        yield "encryption_key", bytes.fromhex(self.encryption_key)
        yield "encryption_key", base64.b64encode(bytes.fromhex(self.encryption_key))


@dataclass(slots=True)
class Search:
    """Everything that was looked at, and what was found where."""

    planted: Planted
    places: int = 0
    size: int = 0
    """Bytes."""
    hits: dict[str, set[str]] = field(default_factory=dict)

    def look(self, place: str, data: bytes, *, spares: tuple[str, ...] = ()) -> None:
        """Look for every secret but those that may be here."""
        self.places += 1
        self.size += len(data)
        for name, spelling in self.planted.spellings():
            if name not in spares and spelling in data:
                self.hits.setdefault(name, set()).add(place)

    def look_at_files(self, directory: Path, may_hold: Mapping[str, tuple[str, ...]]) -> None:
        """Look at every file below a directory, whatever is written meanwhile."""
        for path in sorted(directory.rglob("*")):
            name = str(path.relative_to(directory))
            if path.name in INPUTS or not path.is_file():
                continue
            held = (names for place, names in may_hold.items() if name.startswith(place))
            try:
                self.look(name, path.read_bytes(), spares=tuple(chain(*held)))
            except FileNotFoundError:
                continue


def may_hold(*, encrypted: bool, bodies: str) -> dict[str, tuple[str, ...]]:
    """Return what may stand where."""
    if encrypted:
        return {}
    return {place: held for place, held in _MAY_HOLD.items() if bodies == "all" or "journal" in place}


def canaries(directory: Path, *, encrypted: bool, bodies: str = "all") -> dict[str, Any]:
    """Run the traffic and the search; return how much was looked at and `hits`: places by the name of the secret."""
    planted = Planted()
    search, allowed = Search(planted), may_hold(encrypted=encrypted, bodies=bodies)
    directory.mkdir(parents=True, exist_ok=True)
    with ScriptedUpstream(_provider(planted)) as upstream:
        config = _config(directory, planted, upstream.url, encrypted=encrypted, bodies=bodies)
        with closing(Glassline(directory, config)) as glassline:
            glassline.start()
            answers = _traffic(glassline, planted)
            _wait_until_stored(glassline, planted, len(answers))
            _wait_until_erased(glassline, planted)
            search.look_at_files(directory, allowed)
            _pages(glassline, planted, search)
            _reload(glassline, config)
            _crash(glassline, planted)
            search.look_at_files(directory, allowed)
            glassline.start()
            _traffic(glassline, planted)
            _wait_until_erased(glassline, planted)
            _commands(glassline, planted, search, directory)
            for pid in glassline.pids():
                search.look(f"/proc/{pid}/cmdline", Path(f"/proc/{pid}/cmdline").read_bytes())
            glassline.stop()
            search.look_at_files(directory, allowed)
            for place, answer in answers:
                search.look(f"answer: {place}", answer, spares=_RELAYED.get(place, ()))
    return {
        "places": search.places,
        "bytes": search.size,
        "requests": 2 * len(answers),
        "hits": {name: sorted(places) for name, places in search.hits.items()},
    }


def _config(directory: Path, planted: Planted, url: str, *, encrypted: bool, bodies: str) -> Mapping[str, Any]:
    for name, content in (("admin-password", planted.admin_password), ("encryption-key", planted.encryption_key)):
        path = directory / name
        path.write_text(content + "\n")
        path.chmod(0o600)
    config = {
        "auth": "virtual",
        "admin": {"password_file": str(directory / "admin-password")},
        "upstreams": {"openai": {"api_key": planted.provider_key}},
        "keys": [
            {"name": "team", "key": planted.virtual_key, "budgets": [{"limit_usd": 50, "window": "day"}]},
            {"name": "poor", "key": planted.virtual_key + "-poor", "budgets": [{"limit_usd": 0, "window": "day"}]},
        ],
        "record": {"bodies": bodies},
        "timeouts": {"connect": 1, "first_byte": 1, "idle": 1, "drain": 3},
    }
    if encrypted:
        config["encryption"] = {"key_file": str(directory / "encryption-key")}
    return with_upstream(config, url)


def _provider(planted: Planted) -> Any:
    """A provider that fails in the ways in which secrets get out."""
    key = planted.provider_key
    error = json.dumps({"error": {"message": f"Incorrect API key provided: {key}. {planted.prompt}", "type": "auth"}})

    def answer(connection: Connection) -> None:
        request = connection.request
        if b"fault-echo-plain" in request:
            headers = f"x-echo: Bearer {key}\r\nset-cookie: {key}\r\n".encode()
            connection.send(with_length(error.encode(), status="401 Unauthorized", headers=headers))
        elif b"fault-echo-gzip" in request:
            packed = gzip.compress(error.encode())
            connection.send(with_length(packed, status="401 Unauthorized", headers=b"content-encoding: gzip\r\n"))
        elif b"fault-echo-request" in request:
            connection.send(with_length(request, status="400 Bad Request"))
        elif b"fault-echo-head" in request:
            connection.send(b"HTTP/1.1 200 " + key.encode() + b"\r\nbroken " + key.encode() + b"\r\n\r\n")
            connection.wait_closed()
        elif b"fault-reset" in request:
            connection.send(STREAM_HEAD + event("half"))
            connection.reset()
        elif b"fault-silent" in request:
            connection.wait_closed()
        elif b'"stream":true' in request or b'"stream": true' in request:
            connection.send(
                STREAM_HEAD + event(planted.prompt) + event("on") + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
            )
        else:
            answer_chat(connection)

    return answer


def _body(planted: Planted, *words: str, **fields: Any) -> bytes:
    content = " ".join((planted.prompt, *words))
    body = {"model": "gpt-4o-mini", "max_tokens": 20, "messages": [{"role": "user", "content": content}], **fields}
    return json.dumps(body).encode()


def _traffic(glassline: Glassline, planted: Planted) -> list[tuple[str, bytes]]:
    """Send one of each; return what came back."""
    chat, right = "/v1/chat/completions", planted.virtual_key
    faults = ("echo-plain", "echo-gzip", "echo-request", "echo-head", "reset", "silent")
    requests = {
        "ordinary": post(chat, _body(planted), key=right),
        "stream": post(chat, _body(planted, stream=True), key=right),
        **{fault: post(chat, _body(planted, f"fault-{fault}"), key=right) for fault in faults},
        "wrong key": post(chat, _body(planted), key=planted.wrong_key),
        "no money": post(chat, _body(planted), key=planted.virtual_key + "-poor"),
        "bad json": post(chat, b'{"model": "m", "messages": "' + planted.prompt.encode(), key=right),
        "unknown path": post("/nowhere/v1/chat/completions", _body(planted), key=right),
        "key in query": post(f"{chat}?key={right}&api_key={planted.wrong_key}", _body(planted), key=right),
        "key in headers": post(chat, _body(planted), key=right, headers=(f"x-api-key: {right}", f"api-key: {right}")),
        "bad head": b"POST /v1/x HTTP/1.1\r\nAuthorization: Bearer " + right.encode() + b"\r\nbroken\r\n\r\n",
        "two lengths": post(chat, _body(planted), key=right, headers=("Content-Length: 1",)),
        "socket": b"GET /v1/realtime HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Protocol: realtime, openai-insecure-api-key." + right.encode() + b"\r\n\r\n",
    }
    return [(name, exchange(glassline.port, request, timeout_s=20).raw) for name, request in requests.items()]


def _get(glassline: Glassline, path: str, password: str | None, *, accept: str = "*/*") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", glassline.admin_port, timeout=20)
    headers = {"accept": accept}
    if password is not None:
        headers["authorization"] = "Basic " + base64.b64encode(f"admin:{password}".encode()).decode()
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        head = "".join(f"{name}: {value}\n" for name, value in response.getheaders())
        return response.status, head.encode() + response.read()
    finally:
        connection.close()


def _wait_until_stored(glassline: Glassline, planted: Planted, count: int) -> None:
    def all_there() -> bool:
        status, page = _get(glassline, "/api/requests?limit=200", planted.admin_password)
        assert status == 200, page
        return page.count(b'"outcome"') >= count - 3  # what is refused before it is a request has no record

    wait_until(all_there, "the records", timeout_s=20)


def _wait_until_erased(glassline: Glassline, planted: Planted) -> None:
    key = planted.provider_key.encode()

    def none_has_it() -> bool:
        return not any(key in path.read_bytes() for path in (glassline.data_dir / "journal").glob("*.journal"))

    wait_until(none_has_it, "the end of the key in the journal", timeout_s=_ERASED_WITHIN_S)


def _pages(glassline: Glassline, planted: Planted, search: Search) -> None:
    paths = ["/", "/metrics", "/status", "/healthz", "/login", "/nowhere", "/api/status", "/api/cost", "/api/budgets"]
    paths += ["/api/keys", "/api/openapi.json", "/api/audit", "/api/requests?limit=200", "/api/requests?q=)("]
    listed = json.loads(_get(glassline, "/api/requests?limit=200", planted.admin_password)[1].splitlines()[-1])
    rows = next(value for value in listed.values() if isinstance(value, list))
    shows_prompts = []
    for row in rows:
        shows_prompts += [f"/api/requests/{row['id']}{part}" for part in ("", "/request_body", "/response_body")]
    for path in paths:
        for password in (planted.admin_password, planted.wrong_key, None):
            # Whoever may see the list may see prompts there; metrics and the pages of the state show none.
            spares = ("prompt",) if "requests" in path or path == "/nowhere" else ()
            search.look(f"page {path}", _get(glassline, path, password)[1], spares=spares)
    for path in shows_prompts:
        search.look(f"page {path}", _get(glassline, path, planted.admin_password)[1], spares=("prompt",))


def _reload(glassline: Glassline, config: Mapping[str, Any]) -> None:
    text = glassline.config_file.read_text()
    glassline.write_config(text + "\nunknown: {of: " + str(config["keys"][0]["key"]) + "}\n")
    glassline.reload()
    wait_until(lambda: "the last good one stays" in glassline.stderr, "the refusal of the bad file")
    glassline.write_config(text)
    glassline.reload()
    wait_until(lambda: "configuration loaded" in glassline.stderr, "the reload")


def _crash(glassline: Glassline, planted: Planted) -> None:
    """Kill everything while requests are under way."""
    with RawClient(glassline.port) as client, RawClient(glassline.port) as other:
        client.send(post("/v1/chat/completions", _body(planted, "fault-silent"), key=planted.virtual_key))
        other.send(post("/v1/chat/completions", _body(planted, stream=True), key=planted.virtual_key))
        other.read_until(planted.prompt.encode())
        os.kill(glassline.pids_of("recorder")[0], signal.SIGSEGV)
        glassline.kill_group()


def _commands(glassline: Glassline, planted: Planted, search: Search, directory: Path) -> None:
    """Run what reads or copies, on the running installation."""
    place = ["-c", str(glassline.config_file), "--data-dir", str(glassline.data_dir)]
    backup, bad = directory / "backup.tar", directory / "bad.yaml"
    bad.write_text("auth: [" + planted.virtual_key)
    runs: list[list[str]] = [
        ["check", "-c", str(glassline.config_file)],
        ["check", "-c", str(bad)],
        ["doctor", *place],
        ["cost", *place],
        ["requests", "list", *place],
        ["requests", "list", "--json", *place],
        ["requests", "export", *place],
        ["budgets", "list", *place],
        ["budgets", "explain", "team", *place],
        ["keys", "list", *place],
        ["backup", str(backup), *place],
        ["reprice", "--dry-run", *place],
        ["migrate", *place],
        ["nonsense", planted.prompt],
    ]
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "proxy", *run],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env=clean_environment(),
        )
        for run in runs
    ]
    for run, process in zip(runs, started, strict=True):
        output, _ = process.communicate(timeout=60)
        spares = ("prompt",) if run[0] in ("requests", "nonsense") else ()
        search.look(f"glassline {' '.join(run[:2])}", output, spares=spares)
        assert b"Traceback" not in output, output.decode()
    assert backup.stat().st_mode & 0o077 == 0
    if "encryption" not in glassline.config_file.read_text():
        backup.unlink()  # it holds what the databases hold, prompts included
