"""Servers that speak like OpenAI, each with habits of its own: `/quirks/<server>/v1/chat/completions`."""

from __future__ import annotations

from proxy.simulator.quirks.desk import QUIRK_DESKS

__all__ = ["QUIRK_DESKS"]
