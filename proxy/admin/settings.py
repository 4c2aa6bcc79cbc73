"""Settings as the dashboard shows them: upstreams, prices, retention, redaction, the system.

What stands in the configuration file is shown and explained, and changed there; nothing here pretends otherwise. What
a change would do can be tried out beforehand: a price, a shorter retention, a rule of redaction. Long answers are made
by a process of their own, which ends with whoever asked for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

import msgspec
import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic.fields import FieldInfo
from starlette.requests import Request
from starlette.responses import Response

from proxy import __version__
from proxy.admin.answers import NotFoundError, QuestionError, json_answer, read_model, whole_number
from proxy.admin.declared import DeclaredRoute
from proxy.admin.instruments import LOST, Instruments, recorder_lag_s
from proxy.admin.playground import hindrance
from proxy.admin.price_list import PriceList, PriceRow, Unpriced, proposed_override
from proxy.admin.twins import Listing, Pages, Twins
from proxy.admin.upstreams import Lookout, find_upstream, known_upstreams
from proxy.admin.when import read_instant
from proxy.archive import DATABASES
from proxy.config import Config, Record
from proxy.config.schema import read_duration
from proxy.databases import open_database
from proxy.disk import LOW_BYTES, free_bytes, reserve_bytes
from proxy.errors import OurError, StoreBusy, StoreError
from proxy.policy.redaction import RedactionError, Redactor
from proxy.ports import Ports
from proxy.processes import family_of, resident_bytes
from proxy.store import AsyncStoreReader
from proxy.store import query as ask
from proxy.store.filter import parse_filter
from proxy.store.inventory import Inventory, inventory, keepsakes
from proxy.store.query import CostRow
from proxy.store.rollups import DAY_MS, HOUR_MS

MOST_PRICES: Final = 500
MOST_UNPRICED: Final = 50
MAX_SAMPLE_BYTES: Final = 64 * 1024
_WAIT_S: Final = 120.0
"""For a process that looks through all records."""
_MOST_OUTPUT: Final = 4 * 1024 * 1024
_DURATION: Final = ((86400, "d"), (3600, "h"), (60, "m"))


PRICE_COLUMNS: Final = tuple(PriceRow.__struct_fields__)
"""Of the twins."""


class Sample(BaseModel):
    """A text to look through."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str = Field(max_length=MAX_SAMPLE_BYTES)
    rules: Annotated[tuple[str, ...], Field(max_length=20)] | None = None
    """Names of detectors to try, instead of those of the configuration; None: those."""


class Settings:
    """The endpoints."""

    def __init__(self, config: Config, instruments: Instruments, twins: Twins) -> None:
        self._twins = twins
        self._config = config
        self._read = instruments
        self._lookout = Lookout(config)
        self._prices: PriceList | None = None
        self._loading = asyncio.Lock()
        self._working = asyncio.Lock()
        """One process at a time, of everybody together."""

    def routes(self) -> list[DeclaredRoute]:
        """Return the routes about settings."""
        return [
            DeclaredRoute("/api/upstreams", self.upstreams, least="viewer"),
            DeclaredRoute("/api/upstreams/{name}/look", self.look, least="editor", method="POST"),
            DeclaredRoute("/api/prices", self.prices, least="viewer"),
            *self._twins.routes("/api/prices", Listing("prices", lambda _: PRICE_COLUMNS, self._pages), least="viewer"),
            DeclaredRoute("/api/prices/unpriced", self.unpriced, least="viewer"),
            DeclaredRoute("/api/prices/reprice", self.reprice, least="editor"),
            DeclaredRoute("/api/retention", self.retention, least="viewer"),
            DeclaredRoute("/api/redaction", self.redaction, least="viewer"),
            DeclaredRoute("/api/redaction/preview", self.redact, least="viewer", method="POST"),
            DeclaredRoute("/api/settings/system", self.system, least="viewer"),
            DeclaredRoute("/api/settings/tables", self.tables, least="editor"),
            DeclaredRoute("/api/settings/doctor", self.doctor, least="editor"),
            DeclaredRoute("/api/settings/config", self.configuration, least="editor"),
        ]

    # --- upstreams ---------------------------------------------------------------------------------------------

    async def upstreams(self, _: Request) -> Response:
        """Every upstream that is configured or was used, and how its requests went of late."""
        now = self._read.clock.wall_ms()
        hour: dict[str, Any] = {}
        week: dict[str, CostRow] = {}
        last: dict[str, dict[str, Any]] = {}
        async with self._read.store() as store:
            if store is not None:
                hour = await store.run(ask.outcomes("upstream", from_ms=now - HOUR_MS, to_ms=now + 1))
                rows = await store.run(ask.costs(["upstream"], from_ms=now - 7 * DAY_MS, to_ms=now + 1))
                week = {row.group[0]: row for row in rows if row.group[0]}
                for name in week:
                    last[name] = await _newest(store, name)
        shapes = [
            msgspec.structs.asdict(each)
            | {
                "hindrance": hindrance(each),
                "hour": hour.get(each.name),
                "requests_7d": week[each.name].requests if each.name in week else 0,
                "cost_7d_nano_usd": week[each.name].cost_nano_usd if each.name in week else 0,
                **last.get(each.name, {"last_answer_ms": None, "last_failure": None}),
            }
            for each in known_upstreams(self._config, week)
        ]
        return json_answer({"upstreams": shapes, "auth": self._config.auth})

    async def look(self, request: Request) -> Response:
        """Look whether an upstream can be reached: a connection is opened and closed, nothing is asked."""
        upstream = find_upstream(self._config, request.path_params["name"])
        if upstream is None or upstream.base_url is None:
            raise NotFoundError("no upstream has this name, or nobody knows where it is")
        return json_answer(await self._lookout.look(upstream))

    # --- prices ------------------------------------------------------------------------------------------------

    async def prices(self, request: Request) -> Response:
        """The prices in force: those of the table, and the overrides in front of them."""
        listed = await self._price_list()
        asked = request.query_params
        limit = whole_number(request, "limit", 100, 1, MOST_PRICES) or 1
        start = whole_number(request, "offset", 0, 0, 1_000_000) or 0
        found = await asyncio.to_thread(listed.search, asked.get("q", ""), asked.get("provider") or None)
        return json_answer(
            {
                "prices": found[start : start + limit],
                "total": len(found),
                "version": listed.version,
                "providers": listed.providers,
                "overrides": [rule.model_dump(mode="json", exclude_defaults=True) for rule in listed.overrides],
                "unknown_model": self._config.pricing.unknown_model,
            }
        )

    async def _pages(self, request: Request) -> Pages:
        listed, asked = await self._price_list(), request.query_params
        yield [msgspec.structs.asdict(row) for row in listed.search(asked.get("q", ""), asked.get("provider") or None)]

    async def unpriced(self, request: Request) -> Response:
        """Models that were used and have no price, with what to write down for each."""
        listed, now = await self._price_list(), self._read.clock.wall_ms()
        start = read_instant(request.query_params.get("from", "now-30d"), now)
        end = read_instant(request.query_params.get("to", "now"), now)
        models: list[Unpriced] = []
        async with self._read.store() as store:
            if store is not None:
                rows = await store.run(ask.costs(["model"], from_ms=start, to_ms=end))
                wanting = sorted((row for row in rows if row.unpriced), key=lambda row: -row.unpriced)
                models = [await _unpriced(store, row, listed) for row in wanting[:MOST_UNPRICED]]
        return json_answer({"models": models, "from": start, "to": end, "total": sum(each.requests for each in models)})

    async def reprice(self, request: Request) -> Response:
        """Tell what `glassline reprice` would change, by day and model, with the configuration file as it stands."""
        asked = request.query_params
        options = [f"--{name}={asked[name]}" for name in ("from", "to", "model") if asked.get(name)]
        if "\0" in "".join(options):
            raise QuestionError("from, to, model: hold no NUL")
        for name in ("from", "to"):
            if asked.get(name):
                read_instant(asked[name], self._read.clock.wall_ms())
        lines = await self._run("reprice", "--dry-run", *options)
        *changes, last = [msgspec.json.decode(line) for line in lines] or [{"total": None}]
        shown = [each for each in changes if each["changed"]]
        return json_answer({"changes": shown[:1000], "total": last["total"]})

    async def _price_list(self) -> PriceList:
        async with self._loading:
            if self._prices is None:
                self._prices = await asyncio.to_thread(PriceList, self._config.pricing)
            return self._prices

    # --- retention and redaction -------------------------------------------------------------------------------

    async def retention(self, request: Request) -> Response:
        """How long is kept what, how much is there, and how much another retention would delete: `bodies`, `records`."""
        now, policy = self._read.clock.wall_ms(), self._config.retention
        tried = {name: _span_ms(request, name, now) for name in ("bodies", "records")}
        async with self._read.store() as store:
            kept = Inventory() if store is None else await store.run(inventory())
            gone = None
            if store is not None and any(tried.values()):
                records_ms = tried["records"] or int(policy.records * 1000)
                bodies_ms = tried["bodies"] or int(policy.bodies * 1000)
                gone = await store.run(keepsakes(now - records_ms, now - bodies_ms))
        size = await asyncio.to_thread(_file_size, self._read.data_dir / "records.db")
        shape = {"bodies_s": policy.bodies, "records_s": policy.records, "max_size_gb": policy.max_size_gb}
        answer = {
            "policy": shape,
            "kept": kept,
            "database_bytes": size,
            "record": self._config.record.model_dump(mode="json"),
        }
        return json_answer(answer | {"would_delete": gone})

    async def redaction(self, _: Request) -> Response:
        """Which rules hold before anything is stored, and which there are."""
        record = self._config.record
        rules = [rule if isinstance(rule, str) else rule.name for rule in record.redact]
        own = [rule.model_dump() for rule in record.redact if not isinstance(rule, str)]
        known = ["email", "phone", "credit_card", "iban", "ip", "keys"]
        return json_answer({"rules": rules, "patterns": own, "known": known, "reidentify": record.reidentify})

    async def redact(self, request: Request) -> Response:
        """Tell what would be stored of a text, by the rules of the configuration or by others. Nothing is kept of it."""
        sample = await read_model(Sample, request, 2 * MAX_SAMPLE_BYTES)
        policy = self._config.record if sample.rules is None else _rules(sample.rules, self._config.record)
        # A preview has pseudonyms of its own: those of this data directory could be guessed with it, one by one.
        try:
            redacted = await asyncio.to_thread(Redactor(policy, b"preview").redact, sample.text)
        except RedactionError as error:
            raise QuestionError(f"text: {error}") from None
        return json_answer({"text": redacted.text, "is_changed": redacted.is_changed, "is_on": bool(policy.redact)})

    # --- system ------------------------------------------------------------------------------------------------

    async def system(self, _: Request) -> Response:
        """What runs here, how it is doing, how much room there is, and which configuration is in force."""
        status: dict[str, float] = {}
        lost = 0
        async with self._read.store() as store:
            if store is not None:
                status = await store.run(ask.status())
                lost = sum(row.value for row in await store.run(ask.counters()) if row.name == LOST)
        files = await asyncio.to_thread(_files, self._read.data_dir)
        family = await asyncio.to_thread(_family, self._read.data_dir)
        source, reload = self._config.source, self._read.stats.reload
        return json_answer(
            {
                "version": __version__,
                "python": sys.version.split()[0],
                "processes": family,
                "gateways": [msgspec.to_builtins(each) for each in map(_gateway, self._read.processes())],
                "journal": {
                    "lag_s": recorder_lag_s(status, self._read.clock.wall_ms()),
                    "bytes": status.get("journal_bytes"),
                    "lost_records": lost,
                    "bad_frames": int(status.get("bad_frames", 0)),
                },
                "files": files,
                "disk": {
                    "free_bytes": free_bytes(self._read.data_dir),
                    "low_bytes": LOW_BYTES,
                    "reserve_bytes": reserve_bytes(self._read.data_dir),
                },
                "data_dir": str(self._read.data_dir.absolute()),
                "config": {
                    "file": str(source.path) if source is not None else None,
                    "sha256": source.sha256 if source is not None else None,
                    "loaded_ms": reload.at_ms or None,
                    "generation": reload.generation,
                    "is_good": reload.is_good,
                },
            }
        )

    async def tables(self, _: Request) -> Response:
        """How large each table of records.db is: every page is looked at, so it is asked for and not shown at once."""
        if self._working.locked():
            raise StoreBusy("something else is being worked out: ask again in a moment")
        async with self._working:
            gone = threading.Event()
            looking = asyncio.create_task(asyncio.to_thread(_tables, self._read.data_dir / "records.db", gone))
            try:
                return json_answer({"tables": await asyncio.shield(looking)})
            finally:
                # A thread cannot be cancelled: it is told, and waited for, or each visitor would leave one behind.
                gone.set()
                await asyncio.wait([looking])

    async def doctor(self, _: Request) -> Response:
        """What `glassline doctor` finds."""
        lines = await self._run("doctor", accepts=(0, 78))
        return json_answer({"findings": [msgspec.json.decode(line) for line in lines]})

    async def configuration(self, request: Request) -> Response:
        """The configuration in force, secrets hidden: what differs from the defaults, or with `all=true` everything."""
        is_all = request.query_params.get("all") == "true"
        tree = shown_config(self._config, is_all=is_all)
        text = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=100) if tree else "{}\n"
        return json_answer({"yaml": text, "all": is_all})

    async def _run(self, command: str, *options: str, accepts: tuple[int, ...] = (0,)) -> list[bytes]:
        """Return the lines that a command of ours prints for programs. Raises OurError when it fails."""
        if self._working.locked():
            raise StoreBusy("something else is being worked out: ask again in a moment")
        source = self._config.source
        place = [f"--data-dir={self._read.data_dir.absolute()}", *([f"--config={source.path}"] if source else [])]
        arguments = [sys.executable, "-m", "proxy", command, "--json", *place, *options]
        async with self._working:
            process = await asyncio.create_subprocess_exec(
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            try:
                async with asyncio.timeout(_WAIT_S):
                    printed, complaint = await process.communicate()
            except TimeoutError:
                raise StoreError(
                    f"`glassline {command}` takes longer than {_WAIT_S:g} seconds: run it yourself"
                ) from None
            finally:
                if process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        process.kill()
                    await asyncio.shield(process.wait())
        if process.returncode not in accepts:
            raise CommandFailed(
                complaint.decode("utf-8", "replace").strip().rpartition("\n")[2] or f"`{command}` failed"
            )
        return printed[:_MOST_OUTPUT].splitlines()


class CommandFailed(OurError):
    """A command of ours ended with an error; the sentence is its last one."""


class GatewayShape(msgspec.Struct, frozen=True):
    """What a gateway says of itself."""

    process: str
    pid: int
    state: Literal["ready", "not ready", "silent", "ended"]
    in_flight: int
    connections: int
    loop_lag_ms: float


def _gateway(stats: Any) -> GatewayShape:
    state: Literal["ready", "not ready", "silent", "ended"] = "ended" if stats.is_retired else "silent"
    if stats.is_alive:
        state = "ready" if stats.is_ready else "not ready"
    return GatewayShape(stats.process, stats.pid, state, stats.in_flight, stats.connections, stats.loop_lag_ms)


async def _newest(store: AsyncStoreReader, upstream: str) -> dict[str, Any]:
    """Return when an upstream answered last, and how it failed last."""
    good = await store.run(ask.requests(parse_filter(f'upstream:"{upstream}" outcome:completed'), limit=1))
    bad = await store.run(
        ask.requests(
            parse_filter(f'upstream:"{upstream}" outcome:(upstream_error OR upstream_reset OR timeout OR truncated)'),
            limit=1,
        )
    )
    failure = None
    if bad:
        failure = {
            "id": bad[0].id,
            "at_ms": bad[0].started_at,
            "outcome": bad[0].outcome,
            "message": bad[0].error_message,
        }
    return {"last_answer_ms": good[0].started_at if good else None, "last_failure": failure}


async def _unpriced(store: AsyncStoreReader, row: CostRow, listed: PriceList) -> Unpriced:
    model = row.group[0] or ""
    where = f'unpriced:true model:"{model}"' if model else "unpriced:true model:"
    # The grammar cannot say a quotation mark, and a star would stand for anything.
    found = [] if set(model) & set('"*') else await store.run(ask.requests(parse_filter(where), limit=1))
    example = found[0] if found else None
    known = await store.run(ask.price_of(example.id)) if example is not None else None
    provider, reason = known or (None, None)
    near = listed.near(model, provider) if model else None
    return Unpriced(
        model=model,
        requests=row.unpriced,
        all_requests=row.requests,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        provider=provider,
        upstream=example.upstream if example is not None else None,
        reason=reason,
        last_used_ms=example.started_at if example is not None else None,
        example=example.id if example is not None else None,
        near=near,
        override=proposed_override(model or "*", near),
    )


def _span_ms(request: Request, name: str, now: int) -> int | None:
    """Return a length of time that stands in the question, such as `14d`."""
    text = request.query_params.get(name)
    return None if text is None else now - read_instant(f"now-{text}", now)


def _rules(names: tuple[str, ...], record: Record) -> Record:
    own = {rule.name: rule for rule in record.redact if not isinstance(rule, str)}
    try:
        return Record.model_validate({"redact": [own.get(name, name) for name in names]})
    except ValueError:
        raise QuestionError(f"rules: {', '.join(names)}: not all of these are rules") from None


def _family(data_dir: Path) -> list[dict[str, Any]]:
    """Return the processes that serve a data directory, the supervisor first."""
    ports = Ports.read(data_dir)
    if ports is None:
        return []
    return [{"name": name, "pid": pid, "memory_bytes": resident_bytes(pid)} for name, pid in family_of(ports.pid)]


def _files(data_dir: Path) -> list[dict[str, Any]]:
    """Return what lies in the data directory, and how large it is."""
    found = [
        {"name": name, "bytes": sum(_file_size(data_dir / f"{name}{end}") for end in ("", "-wal"))}
        for name in DATABASES
        if (data_dir / name).exists()
    ]
    for folder in ("journal", "backups"):
        if (data_dir / folder).is_dir():
            sizes = [_file_size(path) for path in (data_dir / folder).rglob("*") if path.is_file()]
            found.append({"name": f"{folder}/", "bytes": sum(sizes), "files": len(sizes)})
    return found


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _tables(path: Path, gone: threading.Event) -> list[dict[str, Any]]:
    """Return the size of each table with its indexes, unless nobody waits for it any more. Raises StoreError."""
    if not path.exists():
        return []
    connection = open_database(path, "read")
    ends_at = time.monotonic() + _WAIT_S
    connection.set_progress_handler(lambda: gone.is_set() or time.monotonic() > ends_at, 10_000)
    try:
        rows = connection.execute(
            "SELECT coalesce(s.tbl_name, d.name) AS name, sum(d.pgsize) AS bytes, sum(d.name <> coalesce(s.tbl_name, d.name))"
            " FROM dbstat AS d LEFT JOIN sqlite_schema AS s ON s.name = d.name WHERE d.aggregate = TRUE"
            " GROUP BY 1 ORDER BY 2 DESC"
        ).fetchall()
    except Exception as error:
        raise StoreError(f"{path.name}: {error}") from error
    finally:
        connection.close()
    return [{"name": name, "bytes": size, "indexes": indexes} for name, size, indexes in rows]


def shown_config(config: Config, *, is_all: bool) -> dict[str, Any]:
    """Return a configuration as a file would hold it, secrets hidden and durations as people write them."""
    return _section(config, is_all=is_all)


def _shown(value: Any, *, is_all: bool) -> Any:
    if isinstance(value, SecretStr):
        return "(hidden)"
    if isinstance(value, BaseModel):
        return _section(value, is_all=is_all)
    if isinstance(value, Mapping):
        return {str(name): _shown(each, is_all=is_all) for name, each in value.items()}
    if isinstance(value, tuple | list):
        return [_shown(each, is_all=is_all) for each in value]
    if isinstance(value, bool | int | float | str) or value is None:
        return value
    return str(value)


def _section(section: BaseModel, *, is_all: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if not is_all and value == field.get_default(call_default_factory=True):
            continue
        shown[name] = duration_text(value) if _is_length(field) and value is not None else _shown(value, is_all=is_all)
    return shown


def _is_length(field: FieldInfo) -> bool:
    """Say whether a field of the configuration is a length of time, or none."""
    inner = [each for kind in get_args(field.annotation) for each in getattr(kind, "__metadata__", ())]
    return any(getattr(each, "func", None) is read_duration for each in (*field.metadata, *inner))


def duration_text(seconds: float) -> str:
    """Write a length of time as the configuration does: `30d`, `5m`, `500ms`."""
    for length, unit in _DURATION:
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s" if seconds >= 1 else f"{seconds * 1000:g}ms"
