"""Every command, its options and its help.

Nothing here imports more than argparse, so that `glassline --help` and a typing mistake answer at once.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from proxy import __version__

ROLES: Final = ("viewer", "editor", "admin")
TOKEN_ROLES: Final = ("feedback", *ROLES)
FILTER_HELP: Final = "filter such as 'key:search status:>=400 latency:>2s': see docs/filters.md"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line; the module that runs a command is in `module`."""
    parser = argparse.ArgumentParser(
        prog="glassline",
        description="A pane of glass between applications and their LLM providers.",
        epilog="exit codes: 0 ok, 1 failed, 2 usage, 78 configuration or environment unusable",
    )
    parser.add_argument("--version", action="version", version=f"glassline {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_serving(commands)
    _add_requests(commands)
    _add_top(commands)
    _add_cost(commands)
    _add_keys(commands)
    _add_people(commands)
    _add_budgets(commands)
    _add_upkeep(commands)
    return parser


def _command(commands: Any, name: str, module: str, help_text: str, **defaults: object) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=help_text, description=f"{help_text}.")
    parser.set_defaults(module=f"proxy.cli.{module}", **defaults)
    return parser


def _add_place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-c", "--config", type=Path, metavar="FILE", help="configuration (default: $GLASSLINE_CONFIG, ./config.yaml)"
    )
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="where the records are (default: ./glassline-data)"
    )


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="JSON lines for programs: exact integers, unknown is null")


def _add_serving(commands: Any) -> None:
    serve = _command(commands, "serve", "serve", "Start the proxy and its admin port")
    _add_place(serve)
    _add_serve_options(serve)
    serve.add_argument("--dry-run", action="store_true", help="load program and configuration, start nothing")
    restart = _command(
        commands, "restart", "restart", "Replace a running serve by what is installed now, losing nothing"
    )
    _add_place(restart)
    check = _command(commands, "check", "check", "Validate the configuration: one line for each mistake")
    check.add_argument("-c", "--config", type=Path, metavar="FILE")
    simulate = _command(commands, "simulate", "simulate", "Start a simulated provider for demos, tests and benchmarks")
    simulate.add_argument("--host", default="127.0.0.1", metavar="HOST")
    simulate.add_argument("--port", type=port, default=9999, metavar="PORT")
    simulate.add_argument("--scenario", type=Path, metavar="FILE", help="YAML list of what to do to which requests")
    simulate.add_argument("--seed", type=int, default=0, metavar="N")
    simulate.add_argument(
        "--truth", type=Path, metavar="FILE", help="append what was received and answered, as JSON lines"
    )
    simulate.add_argument("--require-key", metavar="KEY", help="answer 401 to any other key")
    simulate.add_argument("--reject-stream-options", action="store_true", help="answer 422 to `stream_options`")
    demo = _command(commands, "demo", "demo", "Serve a simulated provider's traffic, to have something to look at")
    demo.add_argument("--data-dir", type=Path, default=Path("glassline-demo"), metavar="DIR")
    demo.add_argument("--rate", type=positive_number, default=3.0, metavar="N", help="requests per second (default: 3)")
    demo.add_argument("--duration", type=positive_number, metavar="SECONDS", help="stop the traffic after so long")
    demo.add_argument("--seed", type=int, default=1, metavar="N")
    _add_serve_options(demo)


def _add_serve_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", metavar="HOST", help="address of the data port (default: 127.0.0.1)")
    parser.add_argument("--port", type=port, metavar="PORT", help="data port (default: 8080)")
    parser.add_argument("--admin-host", metavar="HOST", help="address of the admin port (default: 127.0.0.1)")
    parser.add_argument("--admin-port", type=port, metavar="PORT", help="admin port (default: 8081)")
    parser.add_argument("--workers", type=workers, metavar="N", help="gateway processes (default: 1)")
    parser.add_argument("--log-format", choices=("text", "json"), default="text", help="log on stderr (default: text)")


def _add_requests(commands: Any) -> None:
    group = _group(commands, "requests", "List, show, follow and export recorded requests")
    listing = _command(group, "list", "requests", "List the newest requests", action="list")
    _add_selection(listing)
    listing.add_argument(
        "--sort",
        default="-time",
        metavar="ORDER",
        help="time, cost, latency, ttft, input, output or tokens (default: -time)",
    )
    listing.add_argument("-n", "--limit", type=natural, default=20, metavar="N", help="at most so many (default: 20)")
    show = _command(group, "show", "requests", "Show one request", action="show")
    _add_place(show)
    _add_json(show)
    show.add_argument("id", metavar="ID", help="id of the request, or the start of it")
    show.add_argument("--reidentify", action="store_true", help="show what pseudonyms stand for, where that is kept")
    show.add_argument("--raw", action="store_true", help="write a body's exact bytes and nothing else")
    show.add_argument(
        "--as",
        dest="form",
        choices=("curl", "python", "javascript", "markdown"),
        help="write it to be sent again, or what was said as Markdown",
    )
    side = show.add_mutually_exclusive_group()
    side.add_argument("--request", dest="side", action="store_const", const="request", help="only the request")
    side.add_argument("--response", dest="side", action="store_const", const="response", help="only the response")
    tail = _command(group, "tail", "requests", "Follow requests as they are recorded", action="tail")
    _add_place(tail)
    _add_json(tail)
    tail.add_argument("-q", "--query", default="", metavar="FILTER", help=FILTER_HELP)
    tail.add_argument("-n", "--limit", type=natural, default=10, metavar="N", help="first the last N (default: 10)")
    tail.add_argument("--no-follow", action="store_true", help="end after the last N")
    export = _command(group, "export", "requests", "Write requests, oldest first, for other programs", action="export")
    _add_selection(export, with_json=False)
    export.add_argument("--format", choices=("jsonl", "csv"), default="jsonl", help="default: jsonl")
    export.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: standard output")


def _add_top(commands: Any) -> None:
    top = _command(commands, "top", "top", "Show how things are, live in the terminal")
    _add_place(top)
    top.add_argument("--once", action="store_true", help="write it once, as to anything but a terminal")


def _add_selection(parser: argparse.ArgumentParser, *, with_json: bool = True) -> None:
    _add_place(parser)
    if with_json:
        _add_json(parser)
    parser.add_argument("-q", "--query", default="", metavar="FILTER", help=FILTER_HELP)
    parser.add_argument("--from", dest="start", metavar="WHEN", help="such as now-7d, 2026-11-01, 2026-11-01T12:00")
    parser.add_argument("--to", dest="end", metavar="WHEN", help="up to, not including")


def _add_cost(commands: Any) -> None:
    cost = _command(commands, "cost", "cost", "Show what was spent, and on what")
    _add_selection(cost)
    cost.add_argument(
        "--by", default="model", metavar="FIELD,…", help="key, model, upstream, user, day (default: model)"
    )


def _add_keys(commands: Any) -> None:
    group = _group(commands, "keys", "Create, list and revoke virtual keys")
    create = _command(group, "create", "keys", "Create a virtual key and print it once", action="create")
    _add_place(create)
    _add_json(create)
    create.add_argument("name", metavar="NAME")
    create.add_argument(
        "--budget", action="append", default=[], metavar="USD/WINDOW", help="such as 25/day; repeatable"
    )
    create.add_argument(
        "--unbounded",
        choices=("deny", "allow"),
        default="deny",
        help="under these budgets, requests whose cost nobody can bound, such as batches (default: deny)",
    )
    create.add_argument("--models", default="", metavar="GLOB,…", help="models it may use, such as 'gpt-5*,o3'")
    create.add_argument("--upstreams", default="", metavar="NAME,…", help="upstreams it may use")
    create.add_argument("--rpm", type=natural, metavar="N", help="requests per minute")
    listing = _command(group, "list", "keys", "List the keys created at run time", action="list")
    _add_place(listing)
    _add_json(listing)
    revoke = _command(group, "revoke", "keys", "Revoke a key: gateways refuse it at once", action="revoke")
    _add_place(revoke)
    revoke.add_argument("name", metavar="NAME")


def _add_people(commands: Any) -> None:
    users = _group(commands, "users", "Say who may log in to the admin port")
    for action, help_text in (
        ("add", "Make a user; the password is asked for, or read from the input"),
        ("passwd", "Give a user another password, and end their sessions"),
        ("role", "Give a user another role, and end their sessions"),
        ("remove", "Remove a user, and end their sessions"),
    ):
        parser = _command(users, action, "users", help_text, action=action)
        _add_place(parser)
        parser.add_argument("name", metavar="NAME")
        if action in ("add", "role"):
            parser.add_argument("--role", choices=ROLES, required=True, help="what they may do")
    listing = _command(users, "list", "users", "List the users", action="list")
    _add_place(listing)
    _add_json(listing)
    tokens = _group(commands, "tokens", "Create, list and revoke tokens for the admin port")
    create = _command(tokens, "create", "tokens", "Create a token for scripts and print it once", action="create")
    _add_place(create)
    _add_json(create)
    create.add_argument("name", metavar="NAME")
    create.add_argument("--role", choices=TOKEN_ROLES, default="viewer", help="what it may do (default: viewer)")
    create.add_argument("--expires", metavar="DURATION", help="such as 30d (default: never)")
    listing = _command(tokens, "list", "tokens", "List the tokens", action="list")
    _add_place(listing)
    _add_json(listing)
    revoke = _command(tokens, "revoke", "tokens", "Revoke a token at once", action="revoke")
    _add_place(revoke)
    revoke.add_argument("name", metavar="NAME")


def _add_budgets(commands: Any) -> None:
    group = _group(commands, "budgets", "Show budgets and explain refusals")
    listing = _command(group, "list", "budgets", "List budgets in their current windows", action="list")
    _add_place(listing)
    _add_json(listing)
    explain = _command(group, "explain", "budgets", "Explain the budgets of one key", action="explain")
    _add_place(explain)
    _add_json(explain)
    explain.add_argument("key", metavar="KEY", help="name of the key")
    explain.add_argument("--model", metavar="MODEL", help="explain for this model instead of the last one used")
    explain.add_argument("--user", metavar="USER", help="for budgets per user")


def _add_upkeep(commands: Any) -> None:
    backup = _command(commands, "backup", "backup", "Write consistent copies of all databases into one tar file")
    _add_place(backup)
    backup.add_argument("file", type=Path, metavar="FILE")
    restore = _command(commands, "restore", "restore", "Put the databases of a backup in the place of those there are")
    _add_place(restore)
    restore.add_argument("file", type=Path, metavar="FILE", help="a backup, or a directory that holds databases")
    doctor = _command(commands, "doctor", "doctor", "Check the environment and say what is wrong")
    _add_place(doctor)
    _add_json(doctor)
    migrate = _command(commands, "migrate", "migrate", "Bring the databases to this version, after a backup")
    _add_place(migrate)
    crypt = migrate.add_mutually_exclusive_group()
    crypt.add_argument("--encrypt", action="store_true", help="encrypt the data directory with `encryption.key_file`")
    crypt.add_argument("--decrypt", action="store_true", help="decrypt it again")
    keys = _group(commands, "encryption", "Make a key for encryption at rest")
    new_key = _command(keys, "new-key", "encryption", "Write a new random key to a file that is not there yet")
    new_key.add_argument("file", type=Path, metavar="FILE")
    prune = _command(commands, "prune", "prune", "Delete what is too old, or all about one user, session or key")
    _add_place(prune)
    _add_json(prune)
    prune.add_argument("--user", metavar="USER", help="requests of this user")
    prune.add_argument("--session", metavar="SESSION", help="requests of this session")
    prune.add_argument("--key", metavar="KEY", help="requests of the key with this name")
    prune.add_argument("--before", metavar="WHEN", help="only requests that started before, such as now-30d")
    prune.add_argument("--rows", action="store_true", help="delete the rows, too, with their tokens and costs")
    prune.add_argument("--dry-run", action="store_true", help="say how many requests it is about, and delete nothing")
    prune.add_argument("--yes", action="store_true", help="do not ask")
    redact = _command(commands, "redact", "redact", "Show what would be stored of a text")
    _add_place(redact)
    redact.add_argument("file", type=Path, nargs="?", metavar="FILE", help="default: standard input")
    redact.add_argument("--rules", metavar="NAME,…", help="such as email,phone instead of `record.redact`")
    _add_revision(commands, "reprice", "Compute costs anew: the stored usage at today's prices")
    _add_revision(commands, "reread", "Read stored bodies anew, and price what they say")


def _add_revision(commands: Any, name: str, help_text: str) -> None:
    revision = _command(commands, name, "revise", help_text, action=name)
    _add_place(revision)
    _add_json(revision)
    revision.add_argument("--from", dest="start", metavar="WHEN", help="such as now-7d, 2026-11-01, 2026-11-01T12:00")
    revision.add_argument("--to", dest="end", metavar="WHEN", help="up to, not including")
    revision.add_argument("--model", metavar="GLOB", help="only records of these models, such as 'gpt-5*'")
    revision.add_argument("--dry-run", action="store_true", help="show what would change, and change nothing")


def _group(commands: Any, name: str, help_text: str) -> Any:
    parser = commands.add_parser(name, help=help_text, description=f"{help_text}.")
    return parser.add_subparsers(title="commands", metavar="COMMAND", required=True)


def _bounded(low: int, high: int | None, noun: str) -> Callable[[str], int]:
    def read(text: str) -> int:
        value = int(text)
        if value < low or (high is not None and value > high):
            raise argparse.ArgumentTypeError(
                f"{noun} must be {low} to {high}" if high else f"{noun} must be {low} or more"
            )
        return value

    read.__name__ = noun
    return read


port = _bounded(0, 65535, "port")
workers = _bounded(1, 64, "workers")
natural = _bounded(1, None, "number")


def positive_number(text: str) -> float:
    """Read a finite number above zero."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("must be a number above zero")
    return value
