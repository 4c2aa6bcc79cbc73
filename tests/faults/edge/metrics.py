"""Counters of a running Glassline."""

from __future__ import annotations

import httpx

from tests.admin.exposed import parse_text
from tests.harness import Glassline


def counted(glassline: Glassline, metric: str, process: str) -> float:
    """Return the value of a counter of one process."""
    text = httpx.get(f"{glassline.admin_url}/metrics").raise_for_status().text
    samples = [sample for family in parse_text(text) for sample in family.samples]
    return sum(each.value for each in samples if (each.name, each.labels.get("process")) == (metric, process))
