"""Every configuration key, its type, its default and its bounds.

`config.example.yaml` documents the same keys for people; a test holds the two together. Durations are written as
`30s`, `5m`, `24h`, `30d` or a number of seconds, and held as seconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from importlib.util import find_spec
from ipaddress import IPv6Address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    field_validator,
    model_validator,
)

_HTTP_URL = re.compile(
    r"https?://(?:\[(?P<six>[^\]/?#@\\\s]+)\]|[^\[\]:/?#@\\\s]+)(?::(?P<port>\d{1,5}))?(?:/[^?#\s]*)?"
)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, None: 1.0}


def read_duration(value: Any) -> Any:
    """Return seconds; what is no text is for pydantic to judge. Raises ValueError."""
    if isinstance(value, bool):
        raise ValueError("not a duration")
    if isinstance(value, str):
        match = _DURATION.fullmatch(value.strip())
        if match is None:
            raise ValueError("not a duration: write 30s, 5m, 24h or 30d")
        return float(match[1]) * _SECONDS[match[2]]
    return value


def _no_empty_secret(value: Any) -> Any:
    return None if value == "" else value


Duration = Annotated[float, BeforeValidator(read_duration), Field(gt=0)]
"""Seconds."""
Delay = Annotated[float, BeforeValidator(read_duration), Field(ge=0, le=300)]
"""Seconds; 0: none."""
OptionalSecret = Annotated[SecretStr | None, BeforeValidator(_no_empty_secret)]
Usd = Annotated[Decimal, Field(ge=0, le=Decimal(9_000_000), allow_inf_nan=False)]
"""US dollars; at most nine million, so that nano-dollars fit into SQLite's integers."""
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
"""A name that is safe as a path segment and a metrics label."""


def _no_last_slash(value: Any) -> Any:
    return value.rstrip("/") if isinstance(value, str) else value


BasePath = Annotated[
    str, BeforeValidator(_no_last_slash), Field(pattern=r"^(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$", max_length=200)
]
"""Path under which something is mounted: empty, or /glassline."""


def _is_address(text: str | None) -> bool:
    """Say whether what stands in the brackets of a URL, if there are any, is an IPv6 address."""
    try:
        return text is None or bool(IPv6Address(text))
    except ValueError:
        return False


def _network(value: Any) -> Any:
    try:
        return str(ip_network(value))
    except ValueError as error:
        raise ValueError("not an address or network such as 10.0.0.0/8") from error


Network = Annotated[str, BeforeValidator(_network)]
"""An IP network in its usual spelling."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Tls(_Section):
    """Certificate and private key of a port, PEM files."""

    cert: Path
    key: Path


class Listen(_Section):
    """The data port."""

    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535)
    tls: Tls | None = None
    trusted_proxies: tuple[Network, ...] = ()


class Admin(_Section):
    """The admin port."""

    host: str = "127.0.0.1"
    port: int = Field(8081, ge=0, le=65535)
    password_file: Path | None = None
    hosts: tuple[str, ...] = ()
    session_idle: Duration = 12 * 3600.0
    session_lifetime: Duration = 7 * 86400.0
    base_path: BasePath = ""


class Timeouts(_Section):
    """Deadlines, in seconds."""

    connect: Duration = 5.0
    first_byte: Duration = 120.0
    idle: Duration = 300.0
    total: Duration | None = None
    header: Duration = 10.0
    body_idle: Duration = 30.0
    body_pace: Duration = 10.0
    write_stall: Duration = 60.0
    keep_alive: Duration = 75.0
    upstream_keep_alive: Duration = 55.0
    socket_idle: Duration = 1800.0
    drain: Duration = 30.0
    drained_answer: Duration = 60.0
    pre_stop: Delay = 0.0


class UpstreamTimeouts(_Section):
    """Deadlines of one upstream, in seconds; what is not given is as in `timeouts`."""

    connect: Duration | None = None
    first_byte: Duration | None = None
    idle: Duration | None = None
    total: Duration | None = None
    upstream_keep_alive: Duration | None = None
    socket_idle: Duration | None = None


class Limits(_Section):
    """Sizes and counts above which a request or response is refused."""

    header_bytes: int = Field(32 * 1024, ge=1024)
    header_lines: int = Field(100, ge=10)
    url_bytes: int = Field(8 * 1024, ge=256)
    body_mb: float = Field(50.0, gt=0)
    body_bytes_per_second: int = Field(1024, ge=0)
    connections: int = Field(10_000, ge=1)
    connections_per_ip: int | None = Field(256, ge=1)
    memory_mb: float = Field(1024.0, gt=0)
    connections_per_upstream: int = Field(1_000, ge=1)
    admission_window_kb: int = Field(1024, ge=1)
    drained_answers: int = Field(50, ge=0)
    failed_auth_per_minute: int = Field(20, ge=1)


class Aws(_Section):
    """Credentials with which requests are signed; without any, those that AWS's own tools would find."""

    profile: str | None = None
    access_key: OptionalSecret = None
    secret_key: OptionalSecret = None
    session_token: OptionalSecret = None

    @model_validator(mode="after")
    def _can_sign(self) -> Self:
        if find_spec("botocore") is None:
            raise ValueError("needs botocore, which signs: in the checkout, .venv/bin/pip install 'glassline[bedrock]'")
        if (self.access_key is None) != (self.secret_key is None):
            raise ValueError("`access_key` and `secret_key` go together")
        if self.access_key is not None and self.profile is not None:
            raise ValueError("takes either `profile` or `access_key`")
        return self


class Retries(_Section):
    """When a request that failed is sent again."""

    attempts: int = Field(1, ge=1, le=5)
    after: tuple[Literal["connect", "reset", 429, 500, 502, 503, 504, 529], ...] = ("connect", 429, 503)
    backoff: Duration = 0.5
    max_wait: Duration = 10.0


class Upstream(_Section):
    """A provider: where it is and how it wants to be spoken to."""

    base_url: str | None = None
    api_key: OptionalSecret = None
    wire: Literal["openai", "anthropic", "gemini", "azure", "bedrock", "vertex", "ollama", "none"] | None = None
    auth: Literal["bearer", "x-api-key", "api-key", "x-goog-api-key", "none"] | None = None
    region: str | None = None
    aws: Aws | None = None
    provider: str | None = None
    allow_private: bool = False
    free: bool = False
    ca_file: Path | None = None
    on_disconnect: Literal["cancel", "drain"] = "cancel"
    include_usage: Literal["auto", "always", "never"] | None = None
    timeouts: UpstreamTimeouts = UpstreamTimeouts()
    retries: Retries = Retries()

    @field_validator("base_url")
    @classmethod
    def _is_http_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        match = _HTTP_URL.fullmatch(value)
        if match is None or not _is_address(match["six"]) or not 0 < int(match["port"] or 80) <= 65535:
            raise ValueError("must be http://host[:port][/path] or https://…, without query, fragment or user")
        return value.rstrip("/")

    @field_validator("region")
    @classmethod
    def _is_region(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[a-z0-9-]{2,32}", value):
            raise ValueError("must be a region as the provider writes it, such as us-east-1")
        return value

    @model_validator(mode="after")
    def _has_one_credential(self) -> Self:
        if self.aws is not None and self.api_key is not None:
            raise ValueError("takes either `api_key` or `aws`")
        return self


class Budget(_Section):
    """A spend cap over a window."""

    name: Name | None = None
    limit_usd: Usd
    window: Literal["minute", "hour", "day", "week", "month", "total"] | None = None
    rolling: Duration | None = None
    timezone: str = "UTC"
    hard: bool = True
    per: Literal["user", "key"] | None = None
    models: tuple[str, ...] = ()
    unbounded: Literal["deny", "allow"] = "deny"
    streams: Literal["auto", "whole", "sliced"] = "auto"

    @field_validator("timezone")
    @classmethod
    def _is_known_zone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError("not a time zone of the IANA database, such as Europe/Paris")
        ZoneInfo(value)
        return value

    @model_validator(mode="after")
    def _has_one_window(self) -> Self:
        if (self.window is None) == (self.rolling is None):
            raise ValueError("needs either `window` or `rolling`")
        return self


class RateLimits(_Section):
    """Shared limits of one key."""

    requests_per_minute: int | None = Field(None, ge=1)
    tokens_per_minute: int | None = Field(None, ge=1)
    concurrent: int | None = Field(None, ge=1)


class Key(_Section):
    """A caller: a virtual key, or the provider key that the caller sends."""

    name: Name
    key: SecretStr = Field(min_length=8)
    upstreams: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    budgets: tuple[Budget, ...] = ()
    rate_limits: RateLimits = RateLimits()
    tags: dict[str, str] = {}
    trust_identity: bool = False


class PriceOverride(_Section):
    """A price of the operator's own. Prices are US dollars per million tokens."""

    model: str
    provider: str | None = None
    alias_of: str | None = None
    multiplier: Usd = Decimal(1)
    input: Usd | None = None
    output: Usd | None = None
    cache_read: Usd | None = None
    cache_write: Usd | None = None
    per_request: Usd | None = None
    free: bool = False
    effective_from: str | None = Field(None, pattern=r"^\d{4}-\d{2}-\d{2}$")
    effective_to: str | None = Field(None, pattern=r"^\d{4}-\d{2}-\d{2}$")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        priced = (self.input, self.output, self.per_request)
        if not (self.alias_of or self.free or self.multiplier != 1 or any(price is not None for price in priced)):
            raise ValueError("needs `alias_of`, `free`, `multiplier`, `input`, `output` or `per_request`")
        return self


class Pricing(_Section):
    """Prices that differ from the table, and what to do without one."""

    overrides: tuple[PriceOverride, ...] = ()
    unknown_model: Literal["allow", "deny"] = "allow"


class Pattern(_Section):
    """Something of the operator's own to be redacted."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")
    pattern: str = Field(min_length=1, max_length=500)

    @field_validator("pattern")
    @classmethod
    def _is_pattern(cls, value: str) -> str:
        try:
            matches_nothing = re.compile(value).fullmatch("") is not None
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(f"not a regular expression: {error}") from None
        if matches_nothing:
            raise ValueError("matches the empty text, so it would find something everywhere")
        return value


class Sample(_Section):
    """Of how many exchanges the bodies are kept."""

    rate: float = Field(1.0, ge=0, le=1)
    always: tuple[Literal["errors", "slow"], ...] = ("errors", "slow")
    slow: Duration = 10.0


class Record(_Section):
    """What of an exchange is kept."""

    bodies: Literal["all", "errors", "none"] = "all"
    max_body_mb: float = Field(10.0, ge=0)
    when_full: Literal["block", "metadata_only", "drop"] = "block"
    journal_max_gb: float = Field(2.0, gt=0)
    redact: tuple[Literal["email", "phone", "credit_card", "iban", "ip", "keys", "secrets"] | Pattern, ...] = ()
    reidentify: bool = False
    sample: Sample = Sample()


class Retention(_Section):
    """How long it is kept."""

    bodies: Duration = 30 * 86400.0
    records: Duration = 365 * 86400.0
    max_size_gb: float = Field(50.0, gt=0)


class Encryption(_Section):
    """Encryption of everything below the data directory."""

    key_file: Path | None = None


class Metrics(_Section):
    """Shape of the Prometheus metrics."""

    labels: tuple[Literal["key", "upstream", "model"], ...] = ("key", "upstream", "model")
    max_series: int = Field(2000, ge=100)

    @property
    def record_series(self) -> int:
        """How many series may come of requests; the rest is for budgets and processes."""
        return self.max_series * 4 // 5


@dataclass(frozen=True, slots=True)
class Source:
    """The file that a configuration was read from."""

    path: Path
    sha256: str
    """Of its bytes, hexadecimal."""


class Config(_Section):
    """The whole configuration."""

    _source: Source | None = PrivateAttr(None)

    listen: Listen = Listen()
    admin: Admin = Admin()
    data_dir: Path = Path("glassline-data")
    workers: int = Field(1, ge=1, le=64)
    durability: Literal["standard", "strict"] = "standard"
    default_upstream: str = "openai"
    upstreams: dict[Name, Upstream] = {}
    auth: Literal["passthrough", "virtual"] = "passthrough"
    keys: tuple[Key, ...] = ()
    budgets: tuple[Budget, ...] = ()
    budget_status: Literal[429, 402] = 429
    pricing: Pricing = Pricing()
    record: Record = Record()
    retention: Retention = Retention()
    encryption: Encryption = Encryption()
    metrics: Metrics = Metrics()
    timeouts: Timeouts = Timeouts()
    limits: Limits = Limits()

    @property
    def source(self) -> Source | None:
        """Return the file that it was read from; None: it is the defaults, or was made by a program."""
        return self._source

    def read_from(self, source: Source) -> Self:
        """Return the same, read from a file."""
        copy = self.model_copy()
        copy._source = source  # noqa: SLF001 - a copy of ourselves
        return copy

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        for label, values in (
            ("key name", [key.name for key in self.keys]),
            ("key", [key.key.get_secret_value() for key in self.keys]),
            ("budget name", [budget.name for budget in self.budgets if budget.name]),
        ):
            if len(set(values)) != len(values):
                raise ValueError(f"the same {label} stands twice")
        if any(budget.name is None for budget in self.budgets):
            raise ValueError("budgets across keys need a `name`")
        if any(budget.per == "key" for key in self.keys for budget in key.budgets):
            raise ValueError("a budget of one key cannot be `per: key`")
        return self

    @model_validator(mode="after")
    def _strict_records_are_kept(self) -> Self:
        if self.durability == "strict" and self.record.when_full != "block":
            raise ValueError("`durability: strict` needs `record.when_full: block`: it promises every record")
        return self
