"""Ollama's desk: everything below `/api/`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import msgspec

from proxy.simulator.answer import Usage
from proxy.simulator.counting import TokenCounter
from proxy.simulator.desk import Asked, Headers, read_json, text_of
from proxy.simulator.ollama.ask import as_chat, read_ask
from proxy.simulator.ollama.lines import Lines
from proxy.simulator.openai.embeddings import embed
from proxy.simulator.openai.text import Author
from proxy.simulator.rejection import RejectionError
from proxy.simulator.reply import Plain, Reply
from proxy.simulator.settings import Settings
from proxy.simulator.truth import Request

_MODELS: Final = ("llama3.2:latest", "qwen3:4b", "all-minilm:latest")
_MODIFIED: Final = "2026-01-01T00:00:00.000000000Z"
_DETAILS: Final = {
    "parent_model": "",
    "format": "gguf",
    "family": "llama",
    "families": ["llama"],
    "parameter_size": "3.2B",
    "quantization_level": "Q4_K_M",
}
_DIMENSIONS: Final = 384
_THOUGHT_TOKENS: Final = 24
"""Length of the thoughts of who asks for some without saying how many."""
_WORDS: Final = {
    400: "invalid request",
    401: "unauthorized",
    404: "model not found, try pulling it first",
    429: "too many requests",
    503: "server busy, please try again. maximum pending requests exceeded",
}


class OllamaDesk:
    """Answers as a local Ollama does."""

    def __init__(self, settings: Settings, counter: TokenCounter) -> None:
        self._settings = settings
        self._counter = counter
        self._author = Author(counter)

    def claims(self, request: Request) -> bool:
        """Say yes to what lies below `/api/`, but not to others' versions of it."""
        return request.path.startswith("/api/") and not request.path.startswith(("/api/v0/", "/api/v1/"))

    def read(self, request: Request) -> tuple[Mapping[str, object], str]:
        """Decode JSON."""
        content = read_json(request)
        return content, text_of(content.get("model"))

    def reply(self, asked: Asked) -> Reply:
        """Answer."""
        match asked.request.method, asked.request.path.partition("?")[0].removeprefix("/api/").rstrip("/"):
            case "POST", "chat" | "generate" as endpoint:
                return self._write(asked, is_chat=endpoint == "chat")
            case "POST", "embed" | "embeddings" as endpoint:
                return self._embed(asked, is_old=endpoint == "embeddings")
            case "GET", "tags" | "ps":
                return _plain({"models": [_describe(name) for name in _MODELS]})
            case "POST", "show":
                return _show(asked.model)
            case "GET", "version":
                return _plain({"version": "0.12.0"})
            case _:
                raise RejectionError(404, "404 page not found")

    def rejection_for(self, status: int, code: str | None = None) -> RejectionError:
        """Return Ollama's refusal with this status, of which it says nothing but a sentence."""
        return RejectionError(status, code or _WORDS.get(status, "an unexpected error occurred"))

    def wrong_key(self, _key: str) -> RejectionError:
        """Return the refusal of a key, which a local server would never ask for."""
        return RejectionError(401, "unauthorized")

    def reject(self, rejection: RejectionError) -> Plain:
        """Spell the envelope `{"error": "…"}`."""
        return Plain(rejection.status, rejection.body or msgspec.json.encode({"error": rejection.message}))

    def headers(self, _asked: Asked) -> Headers:
        """Return nothing: Ollama adds no headers."""
        return []

    def _write(self, asked: Asked, *, is_chat: bool) -> Reply:
        ask = read_ask(asked.content)
        wishes = asked.wishes
        if asked.content.get("think") and wishes.reasoning is None and wishes.hidden_reasoning is None:
            wishes = replace(wishes, reasoning=_THOUGHT_TOKENS)
        asked = replace(asked, content=as_chat(asked.content), wishes=wishes)
        return Lines(self._author.write(asked, ask), is_chat=is_chat).spell(is_streaming=ask.is_streaming)

    def _embed(self, asked: Asked, *, is_old: bool) -> Plain:
        given = asked.content.get("prompt" if is_old else "input")
        texts = [text_of(each) for each in given] if isinstance(given, list) else [text_of(given)]
        tokens = sum(map(self._counter.text_counter(asked.model), texts))
        vectors = [list(embed(text.encode(), asked.model, self._settings.seed, _DIMENSIONS)) for text in texts]
        if is_old:
            return Plain(200, msgspec.json.encode({"embedding": vectors[0]}), Usage(tokens))
        counts = {"prompt_eval_count": tokens} if not asked.wishes.no_usage else {}
        body = {"model": asked.model, "embeddings": vectors, "total_duration": 14_143_917, "load_duration": 1_019_500}
        return Plain(200, msgspec.json.encode(body | counts), Usage(tokens))


def _describe(name: str) -> dict[str, object]:
    digest = hashlib.sha256(name.encode()).hexdigest()
    return {
        "name": name,
        "model": name,
        "modified_at": _MODIFIED,
        "size": 2_019_393_189,
        "digest": digest,
        "details": _DETAILS,
    }


def _show(name: str) -> Plain:
    if name not in _MODELS and f"{name}:latest" not in _MODELS:
        raise RejectionError(404, f"model '{name}' not found")
    info = {"general.architecture": "llama", "general.parameter_count": 3_212_749_888}
    shown = {"modelfile": f"FROM {name}\n", "template": "{{ .Prompt }}", "details": _DETAILS, "model_info": info}
    return _plain({**shown, "modified_at": _MODIFIED, "capabilities": ["completion", "tools"]})


def _plain(value: Mapping[str, object]) -> Plain:
    return Plain(200, msgspec.json.encode(value), content_type="application/json; charset=utf-8")
