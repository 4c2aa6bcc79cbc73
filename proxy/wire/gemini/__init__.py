"""Readers of the Gemini API, which Vertex speaks on other paths."""
