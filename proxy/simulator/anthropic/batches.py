"""The wire of /v1/messages/batches: jobs that are done as soon as somebody looks at them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec

from proxy.simulator.answer import Usage
from proxy.simulator.anthropic.author import Author, Question
from proxy.simulator.anthropic.errors import envelope, invalid, kind_of, not_found
from proxy.simulator.anthropic.message import message_object
from proxy.simulator.ask import read_mapping
from proxy.simulator.desk import Asked, text_of
from proxy.simulator.rejection import RejectionError
from proxy.simulator.reply import Plain

_MAX_BATCHES = 100
"""The oldest batch is forgotten when another comes."""
_BEGAN = "2026-01-01T00:00:00Z"
_ENDED = "2026-01-01T00:01:00Z"
_EXPIRES = "2026-01-02T00:00:00Z"
"""Constant, because a clock would make answers differ from run to run."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A job."""

    id: str
    lines: tuple[bytes, ...]
    """Its results, a JSON object each."""
    errors: int
    status: str = "in_progress"

    def describe(self, origin: str) -> dict[str, object]:
        """Return the batch object; `origin`: scheme and host, for the address of its results."""
        has_ended, failed = self.status == "ended", self.errors
        done = len(self.lines) - failed
        return {
            "id": self.id,
            "type": "message_batch",
            "processing_status": self.status,
            "request_counts": {
                "processing": 0 if has_ended else len(self.lines),
                "succeeded": done if has_ended else 0,
                "errored": failed if has_ended else 0,
                "canceled": 0,
                "expired": 0,
            },
            "created_at": _BEGAN,
            "expires_at": _EXPIRES,
            "ended_at": _ENDED if has_ended else None,
            "archived_at": None,
            "cancel_initiated_at": _BEGAN if self.status == "canceling" else None,
            "results_url": f"{origin}/v1/messages/batches/{self.id}/results" if has_ended else None,
        }


class BatchOffice:
    """All batches of one simulator."""

    def __init__(self, author: Author) -> None:
        self._author = author
        self._batches: dict[str, Batch] = {}

    def reply(self, asked: Asked, parts: list[str]) -> Plain:
        """Answer what is asked below `/v1/messages/batches`."""
        match asked.request.method, parts:
            case "POST", []:
                return self._create(asked)
            case "GET", []:
                data = [batch.describe(_origin(asked)) for batch in reversed(self._batches.values())]
                return _plain({"data": data, "has_more": False, "first_id": None, "last_id": None})
            case "GET", [id_]:
                return self._show(asked, replace(self._find(id_), status="ended"))
            case "POST", [id_, "cancel"]:
                return self._show(asked, replace(self._find(id_), status="canceling"))
            case "GET", [id_, "results"]:
                body = b"".join(line + b"\n" for line in self._find(id_).lines)
                return Plain(200, body, content_type="application/x-jsonl")
            case "DELETE", [id_]:
                del self._batches[self._find(id_).id]
                return _plain({"id": id_, "type": "message_batch_deleted"})
            case _:
                raise not_found(asked.request.path)

    def _create(self, asked: Asked) -> Plain:
        requests = asked.content.get("requests")
        if not isinstance(requests, list) or not requests:
            raise invalid("requests", "Field required")
        worked = [self._work(asked, read_mapping(request)) for request in requests]
        usages = [usage for _, usage in worked if usage is not None]
        lines = tuple(line for line, _ in worked)
        batch = Batch(f"msgbatch_{asked.identity[:24]}", lines, len(lines) - len(usages))
        self._batches[batch.id] = batch
        if len(self._batches) > _MAX_BATCHES:
            del self._batches[next(iter(self._batches))]
        return Plain(200, msgspec.json.encode(batch.describe(_origin(asked))), _total(usages))

    def _work(self, asked: Asked, request: Mapping[str, object]) -> tuple[bytes, Usage | None]:
        """Answer one request of a batch: its line in the results, and what it is billed."""
        name = text_of(request.get("custom_id"))
        params = read_mapping(request.get("params"))
        digest = hashlib.sha256(msgspec.json.encode(params)).hexdigest()
        identity = hashlib.sha256(f"{asked.identity}\0{name}".encode()).hexdigest()
        question = Question(
            params,
            text_of(params.get("model")),
            asked.request.credential,
            digest,
            identity,
            asked.wishes,
            is_batch=True,
        )
        try:
            written = self._author.write(question)
        except RejectionError as rejection:
            error = msgspec.json.decode(envelope(kind_of(rejection.status), rejection.message))
            return _line(name, {"type": "errored", "error": error}), None
        return _line(name, {"type": "succeeded", "message": message_object(written)}), written.usage

    def _show(self, asked: Asked, batch: Batch) -> Plain:
        self._batches[batch.id] = batch
        return _plain(batch.describe(_origin(asked)))

    def _find(self, id_: str) -> Batch:
        batch = self._batches.get(id_)
        if batch is None:
            raise not_found(id_)
        return batch


def _origin(asked: Asked) -> str:
    """Return where the client finds this provider: the address of results is absolute, as Anthropic's is."""
    return f"http://{asked.request.headers.get('host', '127.0.0.1')}"


def _total(usages: list[Usage]) -> Usage:
    total = Usage(sum(each.input_tokens for each in usages), sum(each.cached_tokens for each in usages))
    for each in usages:
        total = total.plus(each.output_tokens, each.reasoning_tokens, each.extra)
    return total.plus(0, 0, (("batch_requests", len(usages)),))


def _line(name: str, result: Mapping[str, object]) -> bytes:
    return msgspec.json.encode({"custom_id": name, "result": result})


def _plain(value: Mapping[str, object]) -> Plain:
    return Plain(200, msgspec.json.encode(value))
