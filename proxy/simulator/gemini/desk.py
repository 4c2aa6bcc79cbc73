"""Gemini's desk: the paths of generativelanguage.googleapis.com, and the same below Vertex's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import msgspec

from proxy.simulator.answer import Usage
from proxy.simulator.ask import read_mapping
from proxy.simulator.counting import TokenCounter
from proxy.simulator.desk import Asked, Headers, read_json, text_of
from proxy.simulator.gemini.ask import as_chat, read_ask, read_list
from proxy.simulator.gemini.content import spell
from proxy.simulator.gemini.errors import envelope, rejection_for
from proxy.simulator.gemini.interactions import interaction, read_interaction
from proxy.simulator.gemini.interactions import spell as spell_interaction
from proxy.simulator.gemini.shelf import Collection, Uploads, cached_content, plain
from proxy.simulator.openai.embeddings import embed
from proxy.simulator.openai.text import Author
from proxy.simulator.rejection import RejectionError
from proxy.simulator.reply import Plain, Reply
from proxy.simulator.settings import Settings
from proxy.simulator.truth import Request

_VERSION: Final = r"/(?:v1|v1beta|v1alpha|v1beta1)/"
_VERTEX: Final = r"(?:projects/[^/]+/locations/[^/]+/(?:publishers/google/)?)?"
_UNMISTAKABLE: Final = re.compile(
    rf"{_VERSION}{_VERTEX}(?:(?:models|tunedModels)/[^/:]+:\w+|(?:cachedContents|interactions)(?:/.*)?)$|/upload/v1[^/]*/files$"
)
"""Paths that nobody else has."""
_ANY: Final = re.compile(rf"{_VERSION}{_VERTEX}((?:models|files)(?:/.*)?)$")
"""Paths that others have as well: a key in Google's place decides."""
_MODELS: Final = {
    "gemini-2.5-flash": "Gemini 2.5 Flash",
    "gemini-2.5-pro": "Gemini 2.5 Pro",
    "gemini-3-flash-preview": "Gemini 3 Flash Preview",
    "gemini-embedding-001": "Gemini Embedding 001",
}
_DIMENSIONS: Final = 3072


class GeminiDesk:
    """Answers as Google does."""

    def __init__(self, settings: Settings, counter: TokenCounter) -> None:
        self._settings = settings
        self._counter = counter
        self._author = Author(counter)
        self._files = Collection("files")
        self._uploads = Uploads(self._files)
        self._cached = Collection("cachedContents")
        self._interactions = Collection("interactions")

    def claims(self, request: Request) -> bool:
        """Say yes to Google's own paths, and to the common ones when the key is where Google wants it."""
        path = request.path.partition("?")[0]
        has_key = "x-goog-api-key" in request.headers or "key" in request.query
        return bool(_UNMISTAKABLE.search(path) or (has_key and _ANY.search(path)))

    def read(self, request: Request) -> tuple[Mapping[str, object], str]:
        """Decode JSON; the bytes of an upload are left alone."""
        if "upload_id" in request.query:
            return {}, ""
        content = read_json(request)
        found = re.search(r"models/([^/:]+)", request.path.partition("?")[0])
        return content, found[1] if found else text_of(content.get("model"))

    def reply(self, asked: Asked) -> Reply:
        """Answer."""
        path = asked.request.path.partition("?")[0].rstrip("/")
        if "/upload/" in path:
            return self._uploads.take(asked.request, asked.content)
        resource, _, action = path.rpartition("/")[2].partition(":")
        match asked.request.method, action:
            case "POST", "generateContent" | "streamGenerateContent":
                return self._generate(asked, is_streaming=action.startswith("stream"))
            case "POST", "countTokens":
                return self._count(asked)
            case "POST", "embedContent" | "batchEmbedContents":
                return self._embed(asked)
            case "POST", "" if resource == "cachedContents":
                return self._cache(asked)
            case "POST", "" if resource == "interactions":
                return self._interact(asked)
            case "GET" | "DELETE" | "PATCH" as method, "":
                return self._serve(method, path)
            case _:
                raise RejectionError(404, f"Method not found: {action or path}", kind="NOT_FOUND")

    def rejection_for(self, status: int, code: str | None = None) -> RejectionError:
        """Return Google's refusal with this status."""
        return rejection_for(status, code)

    def wrong_key(self, key: str) -> RejectionError:
        """Return Google's refusal of a key, which is a 400."""
        if not key:
            return RejectionError(403, "Method doesn't allow unregistered callers.", kind="PERMISSION_DENIED")
        return RejectionError(400, "API key not valid. Please pass a valid API key.", kind="INVALID_ARGUMENT")

    def reject(self, rejection: RejectionError) -> Plain:
        """Spell the envelope `{"error": {"code", "message", "status"}}`."""
        return Plain(rejection.status, rejection.body or envelope(rejection))

    def headers(self, _asked: Asked) -> Headers:
        """Return what Google adds."""
        return [(b"server-timing", b"gfet4t7; dur=1"), (b"x-content-type-options", b"nosniff")]

    def _generate(self, asked: Asked, *, is_streaming: bool) -> Reply:
        ask = read_ask(asked.model, asked.content, is_streaming=is_streaming)
        answer = self._author.write(replace(asked, content=as_chat(asked.model, asked.content)), ask)
        kept = self._kept_tokens(asked.content)
        if kept:
            used = answer.usage
            used = replace(used, input_tokens=used.input_tokens + kept, cached_tokens=used.cached_tokens + kept)
            answer = replace(answer, usage=used)
        thinking = read_mapping(read_mapping(asked.content.get("generationConfig")).get("thinkingConfig"))
        shows = asked.wishes.reasoning is not None or thinking.get("includeThoughts") is True
        is_sse = asked.request.query.get("alt") == "sse"
        return spell(answer, is_streaming=is_streaming, is_sse=is_sse, shows_thoughts=shows)

    def _interact(self, asked: Asked) -> Reply:
        ask, chat = read_interaction(asked.content)
        answer = self._author.write(replace(asked, content=chat), ask)
        whole = interaction(answer)
        self._interactions.add({**whole, "name": f"interactions/{whole['id']}"})
        return spell_interaction(answer, is_streaming=ask.is_streaming)

    def _kept_tokens(self, content: Mapping[str, object]) -> int:
        """Return the tokens of the cached contents that a request names."""
        name = text_of(content.get("cachedContent"))
        if not name:
            return 0
        count = read_mapping(self._cached.find(name).get("usageMetadata")).get("totalTokenCount")
        return count if isinstance(count, int) else 0

    def _count(self, asked: Asked) -> Plain:
        tokens = self._tokens(asked, read_mapping(asked.content.get("generateContentRequest")) or asked.content)
        details = [{"modality": "TEXT", "tokenCount": tokens}]
        return plain({"totalTokens": tokens, "promptTokensDetails": details})

    def _tokens(self, asked: Asked, content: Mapping[str, object]) -> int:
        return self._counter.prompt("chat", as_chat(asked.model, content), asked.model, asked.request.sha256)

    def _embed(self, asked: Asked) -> Plain:
        singles = read_list(asked.content.get("requests")) or [asked.content]
        texts = [_words(read_mapping(single.get("content"))) for single in singles]
        wanted = singles[0].get("outputDimensionality")
        size = wanted if isinstance(wanted, int) and 0 < wanted <= _DIMENSIONS else _DIMENSIONS
        vectors = [{"values": list(embed(text.encode(), asked.model, self._settings.seed, size))} for text in texts]
        tokens = sum(map(self._counter.text_counter(asked.model), texts))
        shape = {"embeddings": vectors} if "requests" in asked.content else {"embedding": vectors[0]}
        body = msgspec.json.encode({**shape, "usageMetadata": {"promptTokenCount": tokens}})
        return Plain(200, body, Usage(tokens))

    def _cache(self, asked: Asked) -> Plain:
        resource = cached_content(asked.identity, asked.content, self._tokens(asked, asked.content))
        self._cached.add(resource)
        return plain(resource)

    def _serve(self, method: str, path: str) -> Plain:
        kind, _, name = re.sub(rf"^.*?{_VERSION}{_VERTEX}", "", path).partition("/")
        if kind == "models":
            return plain({"models": [_model(each) for each in _MODELS]} if not name else _model(name))
        kept = {"cachedContents": self._cached, "interactions": self._interactions}.get(kind, self._files)
        return kept.serve(method, name)


def _model(name: str) -> dict[str, object]:
    if name not in _MODELS:
        raise RejectionError(404, f"models/{name} is not found for API version v1beta.", kind="NOT_FOUND")
    return {
        "name": f"models/{name}",
        "version": "001",
        "displayName": _MODELS[name],
        "inputTokenLimit": 1_048_576,
        "outputTokenLimit": 65_536,
        "supportedGenerationMethods": ["embedContent" if "embedding" in name else "generateContent", "countTokens"],
    }


def _words(content: Mapping[str, object]) -> str:
    return "\n".join(text_of(part.get("text")) for part in read_list(content.get("parts")))
