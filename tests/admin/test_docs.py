from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from proxy.admin.exposition import CATALOGUE
from proxy.admin.gauges import Name
from proxy.admin.openapi import document
from proxy.admin.verdict import judge
from tests.admin.test_server import all_routes
from tests.admin.test_verdict import TROUBLES

_ALL = {"public": "all"}
DOCS = Path(__file__).parents[2] / "docs"


def test_every_metric_stands_in_the_docs_and_no_other() -> None:
    text = (DOCS / "metrics.md").read_text(encoding="utf-8")
    documented = re.findall(r"^\| `(\w+)` \| (\w+) \|", text, re.MULTILINE)
    assert sorted(documented) == sorted((described.name, described.kind) for described in CATALOGUE)


def test_every_route_stands_in_the_docs_and_no_other() -> None:
    text = (DOCS / "admin.md").read_text(encoding="utf-8")
    documented = re.findall(r"^\| `([A-Z]+) (\S+)` \|", text, re.MULTILINE)
    served = [(method.upper(), path) for path, methods in document()["paths"].items() for method in methods]
    assert sorted(documented) == sorted(served)


def test_every_route_serves_whom_the_docs_say(tmp_path: Path) -> None:
    text = (DOCS / "admin.md").read_text(encoding="utf-8")
    documented = re.findall(r"^\| `([A-Z]+) (\S+)` \|.*\| (\w+(?:, \w+)?) \|$", text, re.MULTILINE)
    served = {
        (method, route.path_format, ", ".join(filter(None, (_ALL.get(route.least, route.least), route.also))))
        for route in all_routes(tmp_path)
        for method in route.methods or ()
        if method != "HEAD"
    }
    assert set(documented) == served


def test_every_reason_of_the_verdict_stands_in_the_docs() -> None:
    text = (DOCS / "admin.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `(\w+)` \| (?:failing|degraded)", text, re.MULTILINE))
    signs = {reason.code for signs, _, _ in TROUBLES for reason in judge(signs).reasons}
    assert documented == signs | {*get_args(Name), "no_traffic"}
