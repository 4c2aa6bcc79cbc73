"""Drawers: what the provider keeps for its customers, as JSON objects that can be made, listed, changed and deleted.

Ids follow from the request that made the object and from how often the same request came before, so two runs of the
same requests see the same ids. The oldest object is forgotten when there are too many: a simulator in a long demo must
not grow for ever.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from proxy.simulator.answer import CREATED
from proxy.simulator.desk import Asked
from proxy.simulator.rejection import RejectionError
from proxy.simulator.reply import Plain

_MOST_OBJECTS = 1000
Object = dict[str, Any]


class Numbering:
    """Ids that tell repetitions of a request apart."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def next(self, identity: str) -> str:
        """Return 64 hexadecimal digits; for the first request of this identity they are the identity itself."""
        number = self._seen[identity]
        self._seen[identity] += 1
        if len(self._seen) > _MOST_OBJECTS:
            del self._seen[next(iter(self._seen))]
        return hashlib.sha256(f"{identity}{number}".encode()).hexdigest() if number else identity


class Drawer:
    """All objects of one kind."""

    def __init__(self, kind: str, prefix: str, **usual: object) -> None:
        self._kind = kind
        self._prefix = prefix
        self._usual = usual
        """Fields that every object has unless its request gives another value."""
        self._objects: dict[str, Object] = {}
        self._numbering = Numbering()

    def put(self, asked: Asked, fields: Mapping[str, object] | None = None) -> Object:
        """Make an object of these fields, by default those of the request that the kind has."""
        given = {name: value for name, value in asked.content.items() if name in self._usual}
        made: Object = {
            "id": f"{self._prefix}{self._numbering.next(asked.identity)[:24]}",
            "object": self._kind,
            "created_at": CREATED,
            **self._usual,
            **given,
            **(fields or {}),
        }
        self._objects[made["id"]] = made
        if len(self._objects) > _MOST_OBJECTS:
            del self._objects[next(iter(self._objects))]
        return made

    def find(self, object_id: str) -> Object:
        """Return an object. Raises RejectionError (404)."""
        found = self._objects.get(object_id)
        if found is None:
            raise RejectionError(404, f"No {self._kind} found with id '{object_id}'.", param="id")
        return found

    def objects(self, **wanted: object) -> Iterator[Object]:
        """Yield those that have these values, the newest first."""
        for each in reversed(self._objects.values()):
            if all(each.get(name) == value for name, value in wanted.items()):
                yield each

    def create(self, asked: Asked) -> Plain:
        """Answer a request that makes an object."""
        return shown(self.put(asked))

    def list(self, _asked: Asked, **wanted: object) -> Plain:
        """Answer with all objects on one page."""
        return listed(list(self.objects(**wanted)))

    def retrieve(self, _asked: Asked, object_id: str) -> Plain:
        """Answer with one object."""
        return shown(self.find(object_id))

    def update(self, asked: Asked, object_id: str) -> Plain:
        """Answer a request that changes the fields it gives."""
        found = self.find(object_id)
        found.update({name: value for name, value in asked.content.items() if name in found})
        return shown(found)

    def delete(self, _asked: Asked, object_id: str) -> Plain:
        """Answer a request to forget an object."""
        self.find(object_id)
        del self._objects[object_id]
        return shown({"id": object_id, "object": f"{self._kind}.deleted", "deleted": True})


def shown(value: Mapping[str, object]) -> Plain:
    """Return an object as an answer."""
    return Plain(200, msgspec.json.encode(value))


def listed(objects: list[Object]) -> Plain:
    """Return objects as the only page of a list."""
    first, last = (objects[0]["id"], objects[-1]["id"]) if objects else (None, None)
    page = {"object": "list", "data": objects, "first_id": first, "last_id": last, "has_more": False}
    return Plain(200, msgspec.json.encode(page))
