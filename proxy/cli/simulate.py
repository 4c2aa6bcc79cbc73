"""`glassline simulate`: a provider on this machine that costs nothing."""

from __future__ import annotations

import argparse
import sys

from proxy.errors import EnvironmentUnusable


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal ends it."""
    from proxy.simulator import Settings, serve

    settings = Settings(
        seed=arguments.seed,
        scenario=arguments.scenario,
        truth=arguments.truth,
        require_key=arguments.require_key,
        reject_stream_options=arguments.reject_stream_options,
    )

    def announce(port: int) -> None:
        print(f"simulated provider on http://{arguments.host}:{port}/v1", file=sys.stderr, flush=True)

    try:
        serve(settings, arguments.host, arguments.port, announce)
    except OSError as error:
        raise EnvironmentUnusable(f"{arguments.host}:{arguments.port}: {error.strerror or error}") from error
    return 0
