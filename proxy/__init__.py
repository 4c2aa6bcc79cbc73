"""Glassline: a pane of glass between applications and their LLM providers."""

__version__ = "0.1.0"
