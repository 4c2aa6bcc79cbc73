"""OpenAI's wire, as api.openai.com and Azure speak it."""

from __future__ import annotations

from proxy.simulator.openai.azure import AzureDesk
from proxy.simulator.openai.desk import OpenAIDesk

__all__ = ["AzureDesk", "OpenAIDesk"]
