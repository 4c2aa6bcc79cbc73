"""Internal entry point, for tests and benchmarks: `python -m proxy.simulator --port 0 --print-port`."""

from __future__ import annotations

import argparse
from pathlib import Path

from proxy.simulator.directives import read_directives
from proxy.simulator.server import serve
from proxy.simulator.settings import Settings


def main() -> None:
    """Read the options and serve."""
    options = _parser().parse_args()
    settings = Settings(
        seed=options.seed,
        scenario=options.scenario,
        truth=options.truth,
        require_key=options.require_key,
        reject_stream_options=options.reject_stream_options,
        directives=read_directives(options.simulate),
    )
    serve(settings, options.host, options.port, _print_port if options.print_port else None)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m proxy.simulator", description="A simulated LLM provider.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9999)
    parser.add_argument("--print-port", action="store_true", help="print the bound port once it answers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scenario", type=Path)
    parser.add_argument("--truth", type=Path)
    parser.add_argument("--require-key")
    parser.add_argument("--reject-stream-options", action="store_true")
    parser.add_argument("--simulate", default="", help="directives for every request, as in the x-simulate header")
    return parser


def _print_port(port: int) -> None:
    print(port, flush=True)


if __name__ == "__main__":
    main()
