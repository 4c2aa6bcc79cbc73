"""A simulated provider: OpenAI's wire, spoken honestly by a real HTTP server.

It exists for demos, for the CI of people who build on an LLM API, and as the partner of our own tests.
The idea: what an answer *is* (`answer`), how it is spelled on the wire (`chat`, `completions`, `responses`, `embeddings`)
and how it is delivered, or mistreated (`delivery`), are three separate things.

Invariants:

- The body of an answer depends on the bytes of the request and on the seed, never on a clock or an order of arrival.
  The one exception is `cached_tokens`, which by its nature depends on what was asked before.
- The usage it reports is what a tokenizer counts in the text it sent.
- Every request leaves its mark in the truth log, so that a test can compare a record with what the provider really saw.

It knows nothing of the gateway, and nothing in the gateway may know of it.
"""

from __future__ import annotations

from proxy.simulator.app import create_app
from proxy.simulator.directives import Directives, Span, read_directives
from proxy.simulator.server import serve
from proxy.simulator.settings import Settings

__all__ = ["Directives", "Settings", "Span", "create_app", "read_directives", "serve"]
