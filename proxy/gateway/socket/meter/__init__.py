"""What a session may cost while it runs: one meter for each kind of session, all of them upper bounds."""

from __future__ import annotations

from proxy.gateway.socket.meter.counter import Needed, SocketMeter
from proxy.gateway.socket.meter.gemini import GeminiMeter
from proxy.gateway.socket.meter.realtime import RealtimeMeter
from proxy.gateway.socket.meter.responses import ResponsesMeter
from proxy.operations import Operation

__all__ = ["Needed", "SocketMeter", "meter_for"]


def meter_for(operation: Operation | None, model: str | None) -> SocketMeter | None:
    """Return what counts a session; `model`: named by its URL. None: nothing in it can be counted by the token."""
    if operation is None or operation.billing != "tokens":
        return None
    if operation.dialect == "gemini":
        return GeminiMeter()
    if operation.endpoint == "responses_socket":
        return ResponsesMeter()
    return RealtimeMeter(model) if operation.endpoint == "realtime_socket" else None
