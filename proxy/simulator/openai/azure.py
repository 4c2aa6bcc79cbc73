"""Azure's desk: OpenAI's endpoints under Azure's paths, with what Azure adds to heads and bodies.

Both families of paths are known: `/openai/deployments/{deployment}/…?api-version=` and `/openai/v1/…`. A deployment is
a name its owner chose; which model answers stands in the response alone. Content filters speak in every answer:
of a stream, the first chunk has no choices but the results for the prompt. Sources: what the Azure client of openai 3.52
sends; Microsoft's documentation, 2026-11-20.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

import msgspec

from proxy.simulator.desk import Asked, Headers, request_id
from proxy.simulator.models import MODELS
from proxy.simulator.openai.desk import OpenAIDesk
from proxy.simulator.rejection import RejectionError
from proxy.simulator.reply import Event, Plain, Reply, Stream
from proxy.simulator.truth import Request

_DEPLOYMENT = re.compile(r"(?:^|.*/)openai/deployments/([^/]+)/(.+)")
_UNDEPLOYED = re.compile(r"(?:^|.*/)openai/(?!deployments/)(.+)")
_USUAL_MODEL = "gpt-4o-mini"
"""What answers for a deployment that is not called like a model."""
_FAMILIES = ("gpt-", "o1", "o3", "o4", "text-embedding-", "whisper", "tts-", "dall-e-", "sora")
"""Beginnings of the names that are models' and not only deployments'."""
_SEVERITIES = {name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")}
_PROMPT_RESULTS = [{"prompt_index": 0, "content_filter_results": _SEVERITIES | {"jailbreak": {"filtered": False}}}]


class AzureDesk(OpenAIDesk):
    """Answers as an Azure OpenAI resource does."""

    def claims(self, request: Request) -> bool:
        """Claim Azure's paths, and OpenAI's below `/openai/v1` when the key comes in Azure's header."""
        path = request.path.partition("?")[0]
        is_azure = "api-version" in request.query or "api-key" in request.headers
        return bool(_DEPLOYMENT.match(path)) or ("/openai/" in path and is_azure)

    def read(self, request: Request) -> tuple[Mapping[str, object], str]:
        """Decode the body; the deployment in the path decides which model answers."""
        content, model = super().read(request)
        deployed = _DEPLOYMENT.match(request.route)
        name = deployed[1] if deployed else model
        if not deployed and (not name or not request.route):
            return content, name
        answering = name if name in MODELS or name.startswith(_FAMILIES) else _USUAL_MODEL
        return {**content, "model": answering}, answering

    def reply(self, asked: Asked) -> Reply:
        """Answer as OpenAI does, and add what the content filters say."""
        matched = _DEPLOYMENT.match(asked.request.route) or _UNDEPLOYED.match(asked.request.route)
        route = matched[matched.lastindex or 0] if matched else asked.request.route
        reply = super().reply(replace(asked, request=replace(asked.request, route=route)))
        return _filtered(reply) if route in ("chat/completions", "completions") else reply

    def reject(self, rejection: RejectionError) -> Plain:
        """Spell the envelope; a prompt that was filtered says by what."""
        if rejection.code != "content_filter":
            return super().reject(rejection)
        results = _SEVERITIES | {"violence": {"filtered": True, "severity": "high"}}
        inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": results}
        message = "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."
        error = {"message": message, "type": None, "param": "prompt", "code": "content_filter", "status": 400}
        return Plain(rejection.status, msgspec.json.encode({"error": {**error, "innererror": inner}}))

    def headers(self, asked: Asked) -> Headers:
        """Return Azure's ids, region and rate limits."""
        number = request_id(asked).encode()
        return [
            (b"apim-request-id", number),
            (b"x-ms-region", b"Sweden Central"),
            (b"x-request-id", number),
            (b"x-ms-deployment-name", asked.model.encode()),
            (b"x-ratelimit-remaining-requests", b"-1"),
            (b"x-ratelimit-remaining-tokens", b"199000"),
        ]


def _filtered(reply: Reply) -> Reply:
    if isinstance(reply, Stream):
        return replace(reply, events=_filtered_events(reply.events))
    body = msgspec.json.decode(reply.body)
    for choice in body.get("choices", ()):  # a list of stored completions has none
        choice["content_filter_results"] = _SEVERITIES
    return replace(reply, body=msgspec.json.encode(body | {"prompt_filter_results": _PROMPT_RESULTS}))


def _filtered_events(events: Iterator[Event]) -> Iterator[Event]:
    opening = {"id": "", "object": "", "created": 0, "model": "", "choices": []}
    first = msgspec.json.encode({**opening, "prompt_filter_results": _PROMPT_RESULTS})
    yield Event(b"data: " + first + b"\n\n")
    for event in events:
        data = event.data.removeprefix(b"data: ")
        if not data.startswith(b"{"):
            yield event
            continue
        chunk = msgspec.json.decode(data)
        for choice in chunk.get("choices") or ():
            choice["content_filter_results"] = _SEVERITIES if "finish_reason" in choice else {}
        yield event._replace(data=b"data: " + msgspec.json.encode(chunk) + b"\n\n")
