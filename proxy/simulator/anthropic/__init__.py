"""Anthropic's wire, as api.anthropic.com and Vertex AI's `rawPredict` speak it."""

from __future__ import annotations

from proxy.simulator.anthropic.desk import AnthropicDesk

__all__ = ["AnthropicDesk"]
