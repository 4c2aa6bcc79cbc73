"""`glassline redact`: show what would be stored of a text, by the configuration or by `--rules`."""

from __future__ import annotations

import argparse
import sys

from proxy.cli.settings import load_settings
from proxy.config import Config, Record
from proxy.errors import ClientError
from proxy.policy.redaction import Redactor


def run(arguments: argparse.Namespace) -> int:
    """Write the input as it would be stored."""
    policy = _policy(load_settings(arguments), arguments.rules)
    if not policy.redact:
        raise ClientError("`record.redact` names nothing: say --rules email,phone,credit_card,iban,ip,keys")
    data = arguments.file.read_bytes() if arguments.file else sys.stdin.buffer.read()
    # The pseudonyms of this data directory are nobody's business here: a preview has its own.
    redacted = Redactor(policy, b"preview").redact(data.decode("utf-8", "surrogateescape"))
    sys.stdout.buffer.write(redacted.text.encode("utf-8", "surrogateescape"))
    sys.stdout.buffer.flush()
    return 0


def _policy(config: Config, rules: str | None) -> Record:
    if not rules:
        return config.record
    try:
        return Record.model_validate({"redact": [rule.strip() for rule in rules.split(",")]})
    except ValueError:
        raise ClientError(f"--rules: {rules!r} is not a list of email, phone, credit_card, iban, ip, keys") from None
