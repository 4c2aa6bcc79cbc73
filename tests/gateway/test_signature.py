"""Signatures, checked by a second hand: the algorithm written out from AWS's documentation, not botocore's code."""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qsl, quote

import pytest

from proxy.config import parse_config
from proxy.config.schema import Aws
from proxy.errors import ConfigError, UpstreamError
from proxy.gateway.signature import Signer

ACCESS, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
GIVEN = Aws.model_validate({"access_key": ACCESS, "secret_key": SECRET})
MODEL = b"/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.amazon.nova-lite-v1%3A0/converse"


def verify(request: bytes, *, region: str, secret: str = SECRET) -> list[str]:
    """Fail unless the request's signature holds; return the headers that it covers."""
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        key = name.lower()
        headers[key] = f"{headers[key]},{value.strip()}" if key in headers else value.strip()
    match = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, "
        r"SignedHeaders=([^,]+), Signature=([0-9a-f]{64})",
        headers["authorization"],
    )
    assert match is not None
    _, day, where, service, names, signature = match.groups()
    assert (where, service) == (region, "bedrock")
    moment = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    assert abs((datetime.now(UTC) - moment).total_seconds()) < 300
    assert headers["x-amz-date"].startswith(day)
    path, _, query = target.partition("?")
    fields = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in parse_qsl(query, True))
    canonical = "\n".join(
        (
            method,
            quote(path, safe="/-_.~"),  # every service but S3 encodes the path, as sent, once more
            "&".join(f"{name}={value}" for name, value in fields),
            *(f"{name}:{' '.join(headers[name].split())}" for name in names.split(";")),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        )
    )
    scope = f"{day}/{where}/{service}/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join(("AWS4-HMAC-SHA256", headers["x-amz-date"], scope, digest))
    secret_key = f"AWS4{secret}".encode()
    for part in (day, where, service, "aws4_request"):
        secret_key = hmac.digest(secret_key, part.encode(), "sha256")
    assert hmac.new(secret_key, text.encode(), "sha256").hexdigest() == signature
    return names.split(";")


def signed(
    signer: Signer, head: bytes, body: bytes, origin: str = "https://bedrock-runtime.us-east-1.amazonaws.com"
) -> bytes:
    added = signer.sign(head, origin, body)
    return head + added + b"\r\n" + body


@pytest.mark.parametrize(
    "target",
    [
        MODEL,
        b"/model/m/invoke?b=2&a=%20x&a",
        b"/model/a.b-c_d~1%3A0/converse-stream",
        b"/async-invoke?submitTimeAfter=2026-01-01T00:00:00Z&next=%7ea%2fb=&&x",
        b"/model/m'(*)!$,@|/invoke?",
    ],
)
@pytest.mark.parametrize("body", [b"", b'{"messages":[]}', "ä€".encode() * 1000])
def test_a_signature_holds(target: bytes, body: bytes) -> None:
    head = b"POST %b HTTP/1.1\r\nHost: bedrock-runtime.us-east-1.amazonaws.com\r\n" % target
    head += b"Content-Type: application/json\r\nX-Amzn-Bedrock-Trace: ENABLED\r\naccept-encoding: identity\r\n"
    covered = verify(signed(Signer(GIVEN, "us-east-1"), head, body), region="us-east-1")
    assert set(covered) >= {"host", "x-amz-date", "content-type", "x-amzn-bedrock-trace"}
    assert "accept-encoding" not in covered


def test_a_port_and_a_session_token_are_covered() -> None:
    aws = Aws.model_validate({"access_key": ACCESS, "secret_key": SECRET, "session_token": "tok/en=="})
    head = b"POST /model/m/converse HTTP/1.1\r\nHost: 127.0.0.1:9000\r\n"
    request = signed(Signer(aws, "eu-west-1"), head, b"{}", "http://127.0.0.1:9000")
    assert "x-amz-security-token" in verify(request, region="eu-west-1")
    assert b"tok/en==" in request


def test_a_changed_body_breaks_the_signature() -> None:
    head = b"POST /model/m/converse HTTP/1.1\r\nHost: bedrock-runtime.us-east-1.amazonaws.com\r\n"
    request = signed(Signer(GIVEN, "us-east-1"), head, b"{}")
    with pytest.raises(AssertionError):
        verify(request[:-1] + b" }", region="us-east-1")


def test_a_profile_is_read_where_aws_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "credentials"
    file.write_text(f"[work]\naws_access_key_id = AKIDWORK\naws_secret_access_key = {SECRET}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    head = b"POST /model/m/converse HTTP/1.1\r\nHost: bedrock-runtime.us-east-1.amazonaws.com\r\n"
    request = signed(Signer(Aws(profile="work"), "us-east-1"), head, b"{}")
    verify(request, region="us-east-1")
    assert b"Credential=AKIDWORK/" in request


def test_without_credentials_nothing_is_sent_unsigned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    signer = Signer(Aws(profile="nobody"), "us-east-1")
    with pytest.raises(UpstreamError, match="no AWS credentials"):
        signer.sign(b"POST / HTTP/1.1\r\n", "https://x", b"")


@pytest.mark.parametrize(
    ("aws", "reason"),
    [
        ("{access_key: a}", "`access_key` and `secret_key` go together"),
        ("{access_key: a, secret_key: b, profile: c}", "either `profile` or `access_key`"),
    ],
)
def test_half_a_credential_is_a_mistake_that_is_named(aws: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        parse_config(f"upstreams: {{bedrock: {{aws: {aws}}}}}")
    assert "upstreams.bedrock.aws" in str(caught.value)


def test_without_botocore_the_configuration_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.config.schema.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"upstreams.bedrock.aws: .*pip install 'glassline\[bedrock\]'"):
        parse_config("upstreams: {bedrock: {aws: {profile: work}}}")
