"""The wire of /v1/batches: the lines of an input file are answered, and the batch says what they consumed together.

A batch is validated, then in progress, then completed: it moves on each time somebody looks at it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import msgspec

from proxy.simulator.answer import CREATED, Usage
from proxy.simulator.desk import Asked
from proxy.simulator.openai.drawer import Drawer, Object, shown
from proxy.simulator.openai.errors import missing
from proxy.simulator.openai.files import FileShelf
from proxy.simulator.openai.switchboard import Row
from proxy.simulator.rejection import RejectionError
from proxy.simulator.reply import Plain, Reply

_NEXT = {"validating": "in_progress", "in_progress": "completed", "cancelling": "cancelled"}
Answering = Callable[[Asked], Reply]


@dataclass(slots=True)
class _Sum:
    """What the lines of a batch came to."""

    usage: Usage = field(default_factory=lambda: Usage(0))
    model: str | None = None
    output: list[bytes] = field(default_factory=list)
    errors: list[bytes] = field(default_factory=list)


class BatchRoom:
    """All batches."""

    def __init__(self, shelf: FileShelf, answer: Answering) -> None:
        self._shelf = shelf
        self._answer = answer
        self._batches = Drawer(
            "batch",
            "batch_",
            endpoint="",
            input_file_id="",
            completion_window="24h",
            metadata=None,
            status="validating",
            errors=None,
            output_file_id=None,
            error_file_id=None,
            request_counts={"total": 0, "completed": 0, "failed": 0},
            model=None,
            usage=None,
        )
        self._sums: dict[str, _Sum] = {}

    def rows(self) -> Iterable[Row]:
        """Return what is answered here."""
        return (
            ("POST", "batches", self._create),
            ("GET", "batches", self._batches.list),
            ("GET", "batches/{}", self._look),
            ("POST", "batches/{}/cancel", self._cancel),
        )

    def _create(self, asked: Asked) -> Plain:
        for name in ("input_file_id", "endpoint", "completion_window"):
            if not isinstance(asked.content.get(name), str):
                raise missing(name)
        lines = self._shelf.content(str(asked.content["input_file_id"])).splitlines()
        batch = self._batches.put(asked)
        done = self._sums[batch["id"]] = _Sum()
        for line in lines:
            self._do(asked, line, done)
        return shown(batch)

    def _do(self, asked: Asked, line: bytes, done: _Sum) -> None:
        """Answer one line as if it had been asked by itself."""
        request = msgspec.json.decode(line)
        body = msgspec.json.encode(request["body"])
        identity = hashlib.sha256(asked.identity.encode() + line).hexdigest()
        inner = replace(
            asked,
            request=replace(asked.request, route=str(request["url"]).removeprefix("/v1/"), body=body, sha256=identity),
            content=request["body"],
            model=str(request["body"].get("model", "")),
            identity=identity,
        )
        try:
            reply = self._answer(inner)
        except RejectionError as rejection:
            error = {"message": rejection.message, "code": rejection.code}
            done.errors.append(_line(identity, request, rejection.status, msgspec.json.encode({"error": error})))
            return
        if isinstance(reply, Plain) and reply.usage is not None:
            bill = reply.usage
            done.usage = replace(
                done.usage.plus(bill.output_tokens, bill.reasoning_tokens, bill.extra),
                input_tokens=done.usage.input_tokens + bill.input_tokens,
                cached_tokens=done.usage.cached_tokens + bill.cached_tokens,
            )
            done.model = msgspec.json.decode(reply.body).get("model")
            done.output.append(_line(identity, request, 200, reply.body))

    def _look(self, _asked: Asked, batch_id: str) -> Plain:
        batch = self._batches.find(batch_id)
        if batch["status"] not in _NEXT:
            return shown(batch)
        batch["status"] = _NEXT[batch["status"]]
        if batch["status"] != "completed":
            return shown(batch)
        done = self._sums.pop(batch_id)
        self._complete(batch, done)
        return Plain(200, msgspec.json.encode(batch), done.usage)

    def _complete(self, batch: Object, done: _Sum) -> None:
        completed, failed = len(done.output), len(done.errors)
        batch["request_counts"] = {"total": completed + failed, "completed": completed, "failed": failed}
        batch["completed_at"] = CREATED
        batch["model"] = done.model
        batch["usage"] = {
            "input_tokens": done.usage.input_tokens,
            "input_tokens_details": {"cached_tokens": done.usage.cached_tokens},
            "output_tokens": done.usage.output_tokens,
            "output_tokens_details": {"reasoning_tokens": done.usage.reasoning_tokens},
            "total_tokens": done.usage.input_tokens + done.usage.output_tokens,
        }
        for name, lines in (("output", done.output), ("error", done.errors)):
            if lines:
                content = b"".join(lines)
                batch[f"{name}_file_id"] = self._shelf.put(f"{batch['id']}_{name}.jsonl", "batch_output", content)["id"]

    def _cancel(self, _asked: Asked, batch_id: str) -> Plain:
        batch = self._batches.find(batch_id)
        if batch["status"] in _NEXT:
            batch["status"] = "cancelling"
        return shown(batch)


def _line(identity: str, request: Mapping[str, object], status: int, body: bytes) -> bytes:
    response = {"status_code": status, "request_id": identity[:32], "body": msgspec.Raw(body)}
    line = {
        "id": f"batch_req_{identity[:24]}",
        "custom_id": request.get("custom_id"),
        "response": response,
        "error": None,
    }
    return msgspec.json.encode(line) + b"\n"
