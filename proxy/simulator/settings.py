"""What the operator of a simulator chooses."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from proxy.simulator.directives import Directives


@dataclass(frozen=True, slots=True)
class Settings:
    """Options of one simulated provider; the defaults give a fast, faultless one."""

    seed: int = 0
    """Changes every text, vector and id at once."""
    scenario: Path | None = None
    """YAML file of rules that add directives to matching requests. None: no rules."""
    truth: Path | None = None
    """File to which one JSON line is appended per event of a request. None: nothing is written."""
    require_key: str | None = None
    """The only bearer token accepted; others get OpenAI's 401. None: any credential, or none, will do."""
    reject_stream_options: bool = False
    """Answer 422 to `stream_options`, as Mistral's strict validation does."""
    directives: Directives = field(default_factory=Directives)
    """Applied to every request, beneath the scenario's and the request's own."""
