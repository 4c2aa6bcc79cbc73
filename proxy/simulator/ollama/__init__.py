"""Ollama's own dialect of the simulated provider."""

from __future__ import annotations

from proxy.simulator.ollama.desk import OllamaDesk

__all__ = ["OllamaDesk"]
