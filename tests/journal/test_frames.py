"""The bytes of a journal are a promise to whoever reads one that an earlier version wrote."""

from __future__ import annotations

from zlib import crc32

from proxy.encryption import FrameCipher
from proxy.journal.frames import HEADER_SIZE, FrameKind, frame, join_payload, message, split_payload


def test_a_frame_is_laid_out_as_its_description_says() -> None:
    made = frame(FrameKind.CHUNK_REQUEST, 0x0102030405060708, b"payload")
    head = b"GL\x03\x01" + b"\x07\0\0\0" + b"\x08\x07\x06\x05\x04\x03\x02\x01"
    assert made == head + crc32(head + b"payload").to_bytes(4, "little") + b"payload"


def test_a_message_is_the_frame_of_its_header_and_body() -> None:
    for header, body in ((b"head", b"body"), (b"", b"body"), (b"head", b""), (b"h" * 300, b"b" * 70_000)):
        assert message(FrameKind.END, 9, header, body) == frame(FrameKind.END, 9, join_payload(header, body))


def test_an_encrypted_frame_says_so_and_opens_only_under_its_own_head() -> None:
    cipher = FrameCipher(b"k" * 32)
    for made in (
        frame(FrameKind.BEGIN, 258, join_payload(b"head", b"body"), cipher),
        message(FrameKind.BEGIN, 258, b"head", b"body", cipher),
    ):
        head, checksum, sealed = made[: HEADER_SIZE - 4], made[HEADER_SIZE - 4 : HEADER_SIZE], made[HEADER_SIZE:]
        assert head == b"GL\x02\x02" + len(sealed).to_bytes(4, "little") + b"\x02\x01\0\0\0\0\0\0"
        assert checksum == crc32(head + sealed).to_bytes(4, "little")
        assert cipher.unseal(sealed, head) == b"\x04\0\0\0headbody"
        assert cipher.unseal(sealed, head[:-1] + b"\x01") is None


def test_kinds_of_frames_keep_their_numbers() -> None:
    assert [kind.name for kind in sorted(FrameKind)] == [
        "OPEN",
        "BEGIN",
        "CHUNK_REQUEST",
        "CHUNK_RESPONSE",
        "END",
        "CLOSE",
        "NOTE",
        "ERASED",
        "LOST",
        "FEEDBACK",
    ]
    assert [*FrameKind] == list(range(1, 11))


def test_a_payload_is_the_length_of_its_header_the_header_and_the_body() -> None:
    assert join_payload(b"head", b"body") == b"\x04\0\0\0headbody"
    for header, body in ((b"head", b"body"), (b"", b"body"), (b"h" * 300, b""), (b"", b"")):
        assert split_payload(join_payload(header, body)) == (header, body)
