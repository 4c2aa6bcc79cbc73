"""Paths as SDKs write them: which are in normal form, which upstream they name, where they lead below a base URL.

Every SDK appends something else to its base URL: OpenAI's `/chat/completions`, Anthropic's `/v1/messages`, Groq's
`/openai/v1/chat/completions`, Ollama's `/api/chat`. Each natural base URL should simply work, so what an SDK repeats of
the upstream's own path is recognised, and some paths name their provider by themselves.
"""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Final
from urllib.parse import unquote

from proxy.errors import BadRequest
from proxy.framing import is_normal_path

_WORD: Final = rb"[A-Za-z0-9][A-Za-z0-9._-]*"
_SLASHED_NAME: Final = re.compile(
    rb"(/models?/)(?:arn(?:(?:%3[aA]|:|%2[fF])[A-Za-z0-9._-]*)+|" + _WORD + rb"%2[fF]" + _WORD + rb")(?=[/:]|$)"
)
"""Names of models that contain a slash: ARNs of Bedrock, `owner/model` of open ones. SDKs encode it, as they should."""
_DOTS: Final = re.compile(rb"%2[fF]\.|\.\.")
MAX_TAGS: Final = 64
"""In a path, as in headers."""
_TAG: Final = re.compile(r"[^:/]{1,64}:[^/]{1,256}")
_VERSION: Final = re.compile(r"v\d+(?:alpha|beta)?\d*")
_VERBS: Final = (
    "generateContent|streamGenerateContent|countTokens|computeTokens|embedContent|batchEmbedContents|predict"
    "|predictLongRunning|batchGenerateContent|asyncBatchEmbedContent|generateAnswer"
)
_OWN_PATHS: Final = tuple(
    (re.compile(pattern), upstream)
    for pattern, upstream in (
        (r"/v1(?:beta1)?/(?:projects/[^/]+/locations|publishers/[^/]+/models)/", "vertex"),
        (rf"/v1/(?:models|tunedModels)/[^/]+:(?:{_VERBS})$", "gemini"),
        (r"/(?:upload/)?v1(?:beta|alpha)/|/upload/", "gemini"),
        (r"/ws/google\.ai\.generativelanguage\.", "gemini"),
        (r"/model/[^/]+/(?:converse|converse-stream|invoke|invoke-with-response-stream|count-tokens)$", "bedrock"),
        (
            r"/api/(?:chat|generate|embed|embeddings|tags|ps|show|version|pull|push|create|copy|delete|blobs)\b",
            "ollama",
        ),
    )
)
"""Paths that only one provider has, for SDKs that are given our root as their base URL."""
_GOOGLE: Final = re.compile(
    "(?:models|tunedModels|files|cachedContents|batches|interactions|operations|corpora|fileSearchStores|auth_?tokens)"
    "(?:[/:]|$)",
    re.IGNORECASE,
)
"""What Google's `/v1` has: a key in its header alone does not make a chat completion Google's."""
_AZURE: Final = ("/openai/", "/anthropic/", "/models/chat/", "/models/embeddings", "/models/images/")


def judge_path(path: bytes) -> None:
    """Refuse a path that two servers could read differently. Raises BadRequest."""
    named = _SLASHED_NAME.sub(_without_slashes, path) if b"%2" in path else path
    if not is_normal_path(named):
        raise BadRequest("the path is not in normal form")


def _without_slashes(match: re.Match[bytes]) -> bytes:
    # What dots could make of it, decoded, is for `is_normal_path` to refuse.
    return match[0] if _DOTS.search(match[0]) else match[1] + b"x"


def split_tags(path: str) -> tuple[tuple[tuple[str, str], ...], str]:
    """Take `/t/<name>:<value>` off the front, as often as it stands there. Raises BadRequest."""
    tags: list[tuple[str, str]] = []
    while path.startswith("/t/"):
        tag, slash, rest = path[3:].partition("/")
        if not slash or not _TAG.fullmatch(tag):
            raise BadRequest("a tag is written /t/<name>:<value>/")
        name, _, value = unquote(tag).partition(":")
        if not name or len(tags) >= MAX_TAGS:
            raise BadRequest(f"a tag has a name, and a request has at most {MAX_TAGS} of them in its path")
        tags.append((name, value))
        path = "/" + rest
    return tuple(tags), path


def name_upstream(
    path: str, query: bytes, *, default: str, speaks: str | None, names: Container[str]
) -> tuple[str, str]:
    """Return the upstream that a path without tags names, and the path below it.

    `speaks`: the upstream that the headers speak to, where only they can tell; `names`: the upstreams there are.
    """
    first, slash, rest = path[1:].partition("/")
    if first == "openai" and "azure" in names and _is_azure(rest, query):
        return "azure", path
    if first in names:
        return first, slash + rest
    for pattern, upstream in _OWN_PATHS:
        if pattern.match(path):
            return upstream, path
    if first == "v1":
        if speaks is None or (speaks == "gemini" and not _GOOGLE.match(rest)):
            return default, path
        return speaks, path
    return first, slash + rest


def _is_azure(rest: str, query: bytes) -> bool:
    """Tell Azure's `/openai/…` from the upstream `openai`: by deployments, or by the version that Azure demands."""
    return rest.startswith("deployments/") or query.startswith(b"api-version=") or b"&api-version=" in query


def speaker(lowered: Container[bytes]) -> str | None:
    """Return whom the headers speak to, where `/v1/…` alone does not say it; None: to the default upstream."""
    if b"anthropic-version" in lowered:
        return "anthropic"
    return "gemini" if b"x-goog-api-key" in lowered or b"x-goog-api-client" in lowered else None


def root_of(wire: str, base_path: str) -> str:
    """Return the path to which what an SDK appends is joined, given the path of a base URL, without a slash at the end.

    Azure and Ollama have two families of paths; a base URL may name one of them, and the other is reached all the same.
    """
    endings = {"azure": ("/openai/v1", "/openai"), "ollama": ("/v1", "/api")}.get(wire, ())
    return next((base_path.removesuffix(ending) for ending in endings if base_path.endswith(ending)), base_path)


def join(wire: str, root: str, below: str) -> str:
    """Return `below` as it stands behind `root` at the upstream."""
    if wire == "azure":
        return below if below.startswith(_AZURE) else "/openai/v1" + _without_version(below)
    if wire == "ollama":
        return below if below in ("", "/") or below.startswith(("/api/", "/v1/")) else "/v1" + below
    return _without_repetition(root, below)


def _without_version(below: str) -> str:
    return below.removeprefix("/v1") if below.startswith("/v1/") else below


def _without_repetition(root: str, below: str) -> str:
    """Drop from `below` what it repeats of `root`, if that ends with a version: `…/v1` + `/v1/x` is `…/v1/x`."""
    had, wanted = root.split("/")[1:], below.split("/")[1:]
    if not had or not _VERSION.fullmatch(had[-1]):
        return below
    for count in range(min(len(had), len(wanted)), 0, -1):
        if had[-count:] == wanted[:count]:
            return "/".join(("", *wanted[count:])) if len(wanted) > count else ""
    return below


def endpoint_of(below: str) -> str:
    """Return a path without its version."""
    first, _, rest = below[1:].partition("/")
    return "/" + rest if _VERSION.fullmatch(first) else below


def mounts(client: str, upstream: str, root: str) -> tuple[str, str]:
    """Return the front of the client's path and the front of the upstream's that it stands for.

    The rest, which both have in common, may be any other path below: so an address at the upstream becomes one here.
    """
    ours, theirs = client.split("/"), upstream[len(root) :].split("/")
    common = 0
    while common < min(len(ours), len(theirs)) - 1 and ours[-1 - common] == theirs[-1 - common]:
        common += 1
    kept, front = ours[: len(ours) - common], theirs[: len(theirs) - common]
    return "/".join(kept), root + "/".join(front)
