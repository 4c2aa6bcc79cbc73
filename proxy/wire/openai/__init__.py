"""The OpenAI API, and the many servers that speak like it."""
