"""The wire of assistants, threads and their runs; a run reads its thread and adds a message to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import msgspec

from proxy.simulator.answer import Answer, joined
from proxy.simulator.desk import Asked
from proxy.simulator.openai.ask import read_ask
from proxy.simulator.openai.chat import DONE
from proxy.simulator.openai.drawer import Drawer, Object, shown
from proxy.simulator.openai.errors import missing, stream_error
from proxy.simulator.openai.switchboard import Row
from proxy.simulator.openai.text import Author
from proxy.simulator.reply import Event, Plain, Reply, Stream

_NEXT = {"queued": "in_progress", "in_progress": "completed"}


class AssistantRoom:
    """All assistants and threads."""

    def __init__(self, author: Author) -> None:
        self._author = author
        self._assistants = Drawer(
            "assistant", "asst_", model="", name=None, description=None, instructions=None, tools=[], metadata={}
        )
        self._threads = Drawer("thread", "thread_", metadata={}, tool_resources={})
        self._messages = Drawer(
            "thread.message", "msg_", role="user", content="", thread_id="", run_id=None, attachments=[], metadata={}
        )
        self._runs = Drawer(
            "thread.run",
            "run_",
            thread_id="",
            assistant_id="",
            model="",
            status="queued",
            instructions="",
            tools=[],
            required_action=None,
            last_error=None,
            incomplete_details=None,
            usage=None,
            metadata={},
            parallel_tool_calls=True,
        )
        self._answers: dict[str, Answer] = {}

    def rows(self) -> Iterable[Row]:
        """Return what is answered here."""
        return (
            ("POST", "assistants", self._assistants.create),
            ("GET", "assistants", self._assistants.list),
            ("GET", "assistants/{}", self._assistants.retrieve),
            ("POST", "assistants/{}", self._assistants.update),
            ("DELETE", "assistants/{}", self._assistants.delete),
            ("POST", "threads", self._create_thread),
            ("POST", "threads/runs", self._create_and_run),
            ("GET", "threads/{}", self._threads.retrieve),
            ("POST", "threads/{}", self._threads.update),
            ("DELETE", "threads/{}", self._threads.delete),
            ("POST", "threads/{}/messages", self._say),
            ("GET", "threads/{}/messages", self._list_messages),
            ("POST", "threads/{}/runs", self._run),
            ("GET", "threads/{}/runs", self._list_runs),
            ("GET", "threads/{}/runs/{}", self._look),
            ("POST", "threads/{}/runs/{}/cancel", self._cancel),
        )

    def _create_thread(self, asked: Asked) -> Plain:
        return shown(self._make_thread(asked, asked.content))

    def _make_thread(self, asked: Asked, content: object) -> Object:
        thread = self._threads.put(asked)
        said = content.get("messages") if isinstance(content, dict) else None
        for message in said if isinstance(said, list) else ():
            self._messages.put(replace(asked, content=message), {"thread_id": thread["id"]})
        return thread

    def _create_and_run(self, asked: Asked) -> Reply:
        return self._run(asked, self._make_thread(asked, asked.content.get("thread"))["id"])

    def _say(self, asked: Asked, thread_id: str) -> Plain:
        self._threads.find(thread_id)
        return shown(self._messages.put(asked, {"thread_id": thread_id}))

    def _list_messages(self, asked: Asked, thread_id: str) -> Plain:
        return self._messages.list(asked, thread_id=thread_id)

    def _list_runs(self, asked: Asked, thread_id: str) -> Plain:
        return self._runs.list(asked, thread_id=thread_id)

    def _run(self, asked: Asked, thread_id: str) -> Reply:
        self._threads.find(thread_id)
        if not isinstance(asked.content.get("assistant_id"), str):
            raise missing("assistant_id")
        assistant = self._assistants.find(str(asked.content["assistant_id"]))
        model = asked.content.get("model") or assistant["model"]
        run = self._runs.put(asked, {"thread_id": thread_id, "model": model})
        answer = self._write(asked, thread_id, str(model))
        if asked.content.get("stream") is True:
            prompt = replace(answer.usage, output_tokens=0, reasoning_tokens=0)
            return Stream(self._events(run, answer), prompt, _failure)
        self._answers[run["id"]] = answer
        return shown(run)

    def _write(self, asked: Asked, thread_id: str, model: str) -> Answer:
        said = reversed(list(self._messages.objects(thread_id=thread_id)))
        messages = [{"role": message["role"], "content": message["content"]} for message in said]
        content = {"model": model, "messages": messages or [{"role": "user", "content": "Hello"}]}
        sha256 = f"{asked.request.sha256}{len(messages)}{thread_id}"
        chat = replace(asked, content=content, request=replace(asked.request, sha256=sha256))
        return self._author.write(chat, read_ask("chat", content))

    def _events(self, run: Object, answer: Answer) -> Iterator[Event]:
        yield _event("thread.run.created", run)
        run["status"] = "in_progress"
        yield _event("thread.run.in_progress", run)
        choice, message_id = answer.choices[0], f"msg_{answer.identity[:24]}"
        message: Object = {"id": message_id, "object": "thread.message", "thread_id": run["thread_id"]}
        message |= {"run_id": run["id"], "role": "assistant", "content": [], "status": "in_progress"}
        yield _event("thread.message.created", message)
        if choice.hidden_reasoning:
            yield Event(b"", choice.hidden_reasoning, choice.hidden_reasoning)
        for text, tokens in choice.content:
            delta = {"content": [{"index": 0, "type": "text", "text": {"value": text, "annotations": []}}]}
            said: Object = {"id": message_id, "object": "thread.message.delta", "delta": delta}
            yield _event("thread.message.delta", said, tokens)
        content = [{"type": "text", "text": {"value": joined(choice.content), "annotations": []}}]
        yield _event("thread.message.completed", message | {"status": "completed", "content": content})
        self._finish(run, answer)
        yield _event("thread.run.completed", run)
        yield Event(b"event: done\n" + DONE.data)

    def _look(self, _asked: Asked, _thread_id: str, run_id: str) -> Plain:
        run = self._runs.find(run_id)
        if run["status"] not in _NEXT:
            return shown(run)
        run["status"] = _NEXT[run["status"]]
        if run["status"] != "completed":
            return shown(run)
        answer = self._answers.pop(run_id)
        self._finish(run, answer)
        return Plain(200, msgspec.json.encode(run), answer.usage)

    def _cancel(self, _asked: Asked, _thread_id: str, run_id: str) -> Plain:
        run = self._runs.find(run_id)
        run["status"] = "cancelled"
        return shown(run)

    def _finish(self, run: Object, answer: Answer) -> None:
        run["status"] = "completed"
        run["usage"] = {
            "prompt_tokens": answer.usage.input_tokens,
            "completion_tokens": answer.usage.output_tokens,
            "total_tokens": answer.usage.input_tokens + answer.usage.output_tokens,
        }


def _event(name: str, data: Object, tokens: int = 0) -> Event:
    return Event(b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(data)), tokens)


def _failure(_written: int) -> bytes:
    return b"event: error\ndata: " + msgspec.json.encode(stream_error()) + b"\n\n"
