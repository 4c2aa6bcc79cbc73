"""Gemini's dialect of the simulated provider, on Google's paths and on Vertex's."""

from __future__ import annotations

from proxy.simulator.gemini.desk import GeminiDesk

__all__ = ["GeminiDesk"]
