from __future__ import annotations

import pytest

from proxy.policy.detectors import BUILT_IN

FOUND = {
    "email": [
        "alice@example.com",
        "a.b+c_d%e@sub.example.co.uk",
        "jürgen@münchen.de",
        "x@xn--bcher-kva.example",
        "o'brien@example.ie",
    ],
    "phone": [
        "+14155552671",
        "+1 (415) 555-2671",
        "+49 (0)30 1234567",
        "+33 1 23 45 67 89",
        "0044 20 7946 0958",
        "(415) 555-2671",
        "415-555-2671",
        "415.555.2671",
        "1-415-555-2671",
    ],
    "credit_card": [
        "4111111111111111",
        "4111 1111 1111 1111",
        "5555-5555-5555-4444",
        "378282246310005",
        "3782 822463 10005",
        "6011111111111117",
        "2223003122003222",
        "30569309025904",
        "3530111333300000",
    ],
    "iban": [
        "DE89370400440532013000",
        "DE89 3704 0044 0532 0130 00",
        "GB82 WEST 1234 5698 7654 32",
        "fr14 2004 1010 0505 0001 3m02 606",
        "NO93 8601 1117 947",
    ],
    "ip": ["192.168.10.20", "8.8.8.8", "2001:db8::ff00:42:8329", "fe80::1", "::1", "::ffff:10.0.0.1"],
    "keys": [
        "sk-proj-abcdefghijklmnopqrstuvwxyz",
        "sk-ant-api03-abcdefghijklmnopqrstuv",
        "gl-0123456789abcdefghijklmnopqrstuvwxyzABCDEFG",
        "AIzaSyA-1234567890abcdefghijklmnopqrstuv",
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_0123456789abcdefghijklmnopqrstuvwxyz",
        "xoxb-123456789012-abcdefghijkl",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nABC=\n-----END RSA PRIVATE KEY-----",
    ],
}
SPARED = {
    "email": ["a@b", "@example.com", "npm i @scope/pkg@1.2.3", "f(x)@y", "me@localhost", "x\n@app.route"],
    "phone": [
        "1732182949123",
        "2026-11-21T10:00:00+01:00",
        "order 12345678901",
        "1.234.567.890",
        "3.14159265358979",
        "+1",
        "req_4155552671",
        "192.168.100.200",
        "0012345678901234",
        "12-345-678-901-234",
        "1 + 23456789",
    ],
    "credit_card": [
        "4111111111111112",
        "1732182949123000",
        "0.4111111111111111",
        "41111111111111111111",
        "1234567890123456",
    ],
    "iban": ["DE89370400440532013001", "XX89370400440532013000", "AB12CD34EF56", "GB82WEST123456987654321"],
    "ip": [
        "1.2.3",
        "v1.2.3.4",
        "1.2.3.4.5",
        "256.1.1.1",
        "10:20:30",
        "std::vector",
        "12:30",
        "x[1::2]",
        "Face::decode",
        "cafe::add",
    ],
    "keys": [
        "sk-short",
        "task-force-abcdefghijklmnopq",
        "risk-adjusted-and-weighted-return",
        "eyJ",
        "bearer of bad news",
    ],
}


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in FOUND.items() for text in texts])
def test_a_find_is_found_whole_wherever_it_stands(kind: str, text: str) -> None:
    _, find = BUILT_IN[kind]
    for before, after in (("", ""), ("see ", ", thanks."), ("(", ")"), ("\n", "\n"), ('"', '"'), ("\0", "\0")):
        whole = before + text + after
        found = {whole[start:end] for start, end in find(whole)}
        assert text in found
        assert all(each in text for each in found)


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in SPARED.items() for text in texts])
def test_what_only_looks_like_a_find_is_left_alone(kind: str, text: str) -> None:
    _, find = BUILT_IN[kind]
    assert list(find(f"see {text}, thanks.")) == []


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Authorization: Bearer abcdefghijklmnop0123", "abcdefghijklmnop0123"),
        ('password = "hunter2hunter2"', "hunter2hunter2"),
        ("postgres://app:s3cr3t@db/prod", "s3cr3t"),
        ("aws_secret_access_key=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    ],
)
def test_a_secret_that_a_name_announces_is_found_and_the_name_stays(text: str, secret: str) -> None:
    _, find = BUILT_IN["keys"]
    assert secret in {text[start:end] for start, end in find(text)}


def test_a_card_behind_many_other_groups_of_digits_is_found() -> None:
    _, find = BUILT_IN["credit_card"]
    text = "12345678 " * 7 + "4111 1111 1111 1111"
    assert "4111 1111 1111 1111" in {text[start:end] for start, end in find(text)}


def test_a_national_number_is_one_when_the_text_says_so() -> None:
    _, find = BUILT_IN["phone"]
    text = "Tel.: 0171 1234567, order 0171 1234567"
    assert [text[start:end] for start, end in find(text)] == ["0171 1234567"]


@pytest.mark.parametrize("kind", BUILT_IN)
@pytest.mark.parametrize(
    "seed",
    [
        "a",
        "1",
        "1 ",
        "a@",
        "a.",
        "1.",
        "1:",
        "+1",
        "(4",
        "A1",
        "DE12 ",
        "eyJaaaaaaaa.",
        "-",
        "-----BEGIN A-----",
        "bearer ",
        "4",
    ],
)
def test_no_text_makes_a_detector_slow(kind: str, seed: str) -> None:
    """A quadratic pattern would need minutes for this; the time limit of the suite is the assertion."""
    _, find = BUILT_IN[kind]
    assert len(list(find(seed * (200_000 // len(seed))))) < 200_000
