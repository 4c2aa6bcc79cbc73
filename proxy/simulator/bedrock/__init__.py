"""Amazon Bedrock's wire: Converse, and models in their own words behind Invoke. Signatures and tokens are not checked."""

from __future__ import annotations

from proxy.simulator.bedrock.desk import BedrockDesk

__all__ = ["BedrockDesk"]
