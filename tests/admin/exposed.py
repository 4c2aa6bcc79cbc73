"""Prometheus' own parsers, typed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from prometheus_client import Metric, parser
from prometheus_client.openmetrics import parser as openmetrics_parser

_Parser: TypeAlias = Callable[[str], Iterable[Metric]]
parse_text: _Parser = parser.text_string_to_metric_families
parse_openmetrics: _Parser = openmetrics_parser.text_string_to_metric_families
