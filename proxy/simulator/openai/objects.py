"""Everything else that is kept or judged: stores, containers, conversations, moderations, decisions, short-lived keys."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import msgspec

from proxy.simulator.answer import CREATED, Usage
from proxy.simulator.counting import TokenCounter
from proxy.simulator.desk import Asked
from proxy.simulator.openai.ask import read_model
from proxy.simulator.openai.drawer import Drawer, Object, listed, shown
from proxy.simulator.openai.errors import missing
from proxy.simulator.openai.switchboard import Row
from proxy.simulator.reply import Plain

_CATEGORIES = ("harassment", "hate", "illicit", "self-harm", "sexual", "violence")
_ALARMING = "kill"
"""An input with this word is flagged, so that both outcomes can be had."""


class Archive:
    """Vector stores, containers and conversations."""

    def __init__(self) -> None:
        counts = {"in_progress": 0, "completed": 0, "failed": 0, "cancelled": 0, "total": 0}
        self._stores = Drawer(
            "vector_store", "vs_", name="", status="completed", usage_bytes=0, file_counts=counts, metadata={}
        )
        self._files = Drawer(
            "vector_store.file", "vsf_", vector_store_id="", file_id="", status="completed", usage_bytes=0
        )
        self._containers = Drawer("container", "cntr_", name="", status="running", memory_limit="1g")
        self._conversations = Drawer("conversation", "conv_", metadata={})
        self._items = Drawer("conversation.item", "msg_", type="message", role="user", content="", conversation_id="")

    def rows(self) -> Iterable[Row]:
        """Return what is answered here."""
        return (
            *_usual_rows("vector_stores", self._stores),
            ("POST", "vector_stores/{}/search", self._search),
            ("POST", "vector_stores/{}/files", self._add_file),
            ("GET", "vector_stores/{}/files", self._list_files),
            ("POST", "containers", self._make_container),
            *(row for row in _usual_rows("containers", self._containers) if row[:2] != ("POST", "containers")),
            *_usual_rows("conversations", self._conversations),
            ("POST", "conversations/{}/items", self._add_items),
            ("GET", "conversations/{}/items", self._list_items),
        )

    def _make_container(self, asked: Asked) -> Plain:
        made = self._containers.put(asked)
        return Plain(200, msgspec.json.encode(made), Usage(0, extra=(("containers", 1),)))

    def _search(self, asked: Asked, store_id: str) -> Plain:
        self._stores.find(store_id)
        text = [{"type": "text", "text": "A passage that was found."}]
        hit = {"file_id": "file-found", "filename": "found.txt", "score": 0.87, "attributes": {}, "content": text}
        query = asked.content.get("query")
        page = {"object": "vector_store.search_results.page", "search_query": query, "data": [hit], "has_more": False}
        return shown(page)

    def _add_file(self, asked: Asked, store_id: str) -> Plain:
        self._stores.find(store_id)
        added = {"id": asked.content.get("file_id"), "vector_store_id": store_id}
        return shown(self._files.put(asked, added))

    def _list_files(self, asked: Asked, store_id: str) -> Plain:
        return self._files.list(asked, vector_store_id=store_id)

    def _add_items(self, asked: Asked, conversation_id: str) -> Plain:
        self._conversations.find(conversation_id)
        given = asked.content.get("items")
        items = [item for item in given if isinstance(item, dict)] if isinstance(given, list) else []
        return listed([self._items.put(asked, item | {"conversation_id": conversation_id}) for item in items])

    def _list_items(self, asked: Asked, conversation_id: str) -> Plain:
        return self._items.list(asked, conversation_id=conversation_id)


class Judge:
    """Moderations and decisions."""

    def __init__(self, counter: TokenCounter) -> None:
        self._counter = counter

    def rows(self) -> Iterable[Row]:
        """Return what is answered here."""
        return (("POST", "moderations", self._moderate), ("POST", "decisions", self._decide))

    def _moderate(self, asked: Asked) -> Plain:
        given = asked.content.get("input")
        if not given:
            raise missing("input")
        inputs = given if isinstance(given, list) else [given]
        results = [_judged(_ALARMING in msgspec.json.encode(each).decode()) for each in inputs]
        model = asked.model or "omni-moderation-latest"
        return shown({"id": f"modr-{asked.identity[:24]}", "model": model, "results": results})

    def _decide(self, asked: Asked) -> Plain:
        model = read_model(asked.content)
        tokens = self._counter.text_counter(model)(msgspec.json.encode(asked.content.get("input")).decode())
        usage = {
            "input_tokens": tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 1,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": tokens + 1,
        }
        answers = [{"type": "predicate", "name": None, "probability": 0.5}]
        body = {"answers": answers, "model": model, "usage": usage}
        return Plain(200, msgspec.json.encode(body), Usage(tokens, 0, 1))


def mint_secret(asked: Asked) -> Plain:
    """Answer a request for a short-lived key of a realtime session."""
    secret = hashlib.sha256(f"secret{asked.identity}".encode()).hexdigest()
    session: Mapping[str, object] = {"type": "realtime", "object": "realtime.session", "model": "gpt-realtime"}
    given = asked.content.get("session")
    shape: Object = {**session, **given} if isinstance(given, dict) else {**session}
    return shown({"value": f"ek_{secret[:32]}", "expires_at": CREATED + 600, "session": shape})


def _usual_rows(path: str, drawer: Drawer) -> Iterable[Row]:
    return (
        ("POST", path, drawer.create),
        ("GET", path, drawer.list),
        ("GET", f"{path}/{{}}", drawer.retrieve),
        ("POST", f"{path}/{{}}", drawer.update),
        ("DELETE", f"{path}/{{}}", drawer.delete),
    )


def _judged(flagged: bool) -> dict[str, object]:
    return {
        "flagged": flagged,
        "categories": {name: flagged and name == "violence" for name in _CATEGORIES},
        "category_scores": {name: 0.98 if flagged and name == "violence" else 0.0001 for name in _CATEGORIES},
        "category_applied_input_types": {name: ["text"] for name in _CATEGORIES},
    }
