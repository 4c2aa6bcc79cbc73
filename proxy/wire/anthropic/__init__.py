"""Readers of the Messages API: Anthropic's own, and what speaks like it (Vertex, Bedrock, gateways)."""
