"""Multipart forms, read by the standard library's mail parser: another implementation than the proxy's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from email.parser import BytesParser
from email.policy import HTTP

from proxy.simulator.rejection import RejectionError


@dataclass(frozen=True, slots=True)
class FormFile:
    """A file in a form."""

    filename: str
    content: bytes


FormValue = str | FormFile


def read_form(content_type: str, body: bytes) -> Mapping[str, object]:
    """Read a form: text or FormFile by field name, and a list of them for names that end in `[]`."""
    message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    if not message.is_multipart():
        raise RejectionError(400, "Expected a multipart/form-data body with a boundary.")
    fields: dict[str, object] = {}
    for part in message.iter_parts():
        name = str(part.get_param("name", "", header="content-disposition"))
        filename, content = part.get_filename(), part.get_payload(decode=True)
        data = content if isinstance(content, bytes) else b""
        value: FormValue = data.decode("utf-8", "replace") if filename is None else FormFile(filename, data)
        if name.endswith("[]"):
            fields[name[:-2]] = [*_listed(fields.get(name[:-2])), value]
        else:
            fields[name] = value
    return fields


def files_of(content: Mapping[str, object], name: str) -> list[FormFile]:
    """Return the files in a field, one or several."""
    return [value for value in _listed(content.get(name)) if isinstance(value, FormFile)]


def _listed(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else [] if value is None else [value]
