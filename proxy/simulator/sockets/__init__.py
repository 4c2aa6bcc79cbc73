"""The simulated provider's WebSockets: OpenAI's Realtime, Responses and Live, Gemini's Live.

`door` speaks frames and knows no API; each session speaks an API and knows no frames.
"""

from __future__ import annotations

from proxy.simulator.sockets.door import SocketDoor

__all__ = ["SocketDoor"]
