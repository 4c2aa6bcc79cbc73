"""Configuration: one YAML file, read once, checked whole, handed to every process as frozen values."""

from proxy.config.load import load_config, parse_config
from proxy.config.schema import (
    Admin,
    Budget,
    Config,
    Key,
    Limits,
    Listen,
    Metrics,
    PriceOverride,
    Pricing,
    RateLimits,
    Record,
    Retention,
    Timeouts,
    Tls,
    Upstream,
    UpstreamTimeouts,
)

__all__ = [
    "Admin",
    "Budget",
    "Config",
    "Key",
    "Limits",
    "Listen",
    "Metrics",
    "PriceOverride",
    "Pricing",
    "RateLimits",
    "Record",
    "Retention",
    "Timeouts",
    "Tls",
    "Upstream",
    "UpstreamTimeouts",
    "load_config",
    "parse_config",
]
