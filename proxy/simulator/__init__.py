"""A simulated provider: the wires of real providers, spoken honestly by a real HTTP server.

It exists for demos, for the CI of people who build on an LLM API, and as the partner of our own tests.
The idea: what an answer *is* (`answer`), how it is spelled on the wire (a `Desk` for each dialect, such as `openai`)
and how it is delivered, or mistreated (`delivery`), are three separate things.

How a dialect joins: write a package beside `openai` with a class that fits `desk.Desk` and is made with
`(settings, counter)`, and put that class into `app._DESKS`, before OpenAI's.

- `claims` picks requests by path or header. `Request.route` is what follows `/v1/`, or else the whole path;
  `Request.credential` is the key, wherever the dialect carries it; `Request.query` the decoded query.
- `reply` returns a `Plain`, or a `Stream` of `Event`s whose bytes carry their own framing (server-sent events,
  JSON lines, binary frames) and whose content type is the stream's. Faults, pace, compression and splitting
  are applied to any stream, and count its events.
- Usage is what the provider bills: tokens in the four fields, everything else, or parts with their own price, by name
  in `Usage.extra` and `Event.extra`. It goes to the truth log as the events go out.
- `answer.compose(Ask, …)` writes text, reasoning and tool calls; `TokenCounter.text_counter` counts.

Invariants:

- The body of an answer depends on the bytes of the request and on the seed, never on a clock or an order of arrival.
  The exceptions, by their nature, depend on what was asked before: `cached_tokens`, and what the provider keeps
  (files, stored responses, batches).
- The usage it reports is what a tokenizer counts in the text it sent.
- Every request leaves its mark in the truth log, so that a test can compare a record with what the provider really saw.

It knows nothing of the gateway, and nothing in the gateway may know of it.
"""

from __future__ import annotations

from proxy.simulator.app import create_app
from proxy.simulator.desk import Asked, Desk
from proxy.simulator.directives import Directives, Span, read_directives
from proxy.simulator.server import serve
from proxy.simulator.settings import Settings

__all__ = ["Asked", "Desk", "Directives", "Settings", "Span", "create_app", "read_directives", "serve"]
