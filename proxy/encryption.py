"""Encryption at rest: one key from a file, from which every file below the data directory gets a key of its own.

    key file ─▶ master key ─HKDF▶ databases        ChaCha20-Poly1305 by SQLite's cipher, page by page, WAL included
                           ─HKDF▶ each writer      AES-256-GCM, frame by frame; the nonce counts the frames
                           ─HKDF▶ single files     AES-256-GCM under a random nonce: pepper, key list, jobs, quarantine

The key file holds 32 bytes in hexadecimal or base64, which are the master key, or a passphrase of 16 bytes and more,
from which Argon2id makes it. `encryption.json` in the data directory holds the salt and a proof of the key, so a wrong
key is told before any file is touched; whoever has that file and not the key has nothing.

Invariant: a directory is encrypted or it is not. A process unlocks it once, before it opens anything; forked processes
inherit that. Opening with a key what is plain, and without one what is encrypted, is refused.

The gateway imports this module, so what costs time to import is imported where a key is in use.
"""

from __future__ import annotations

import base64
import binascii
import ctypes
import hmac
import json
import os
import re
import resource
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

from proxy.errors import EnvironmentUnusable
from proxy.files import write_whole
from proxy.secrets import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MARKER: Final = "encryption.json"
KEY_BYTES: Final = 32
MIN_PASSPHRASE_BYTES: Final = 16
"""A generated key is better; this is the least that is worth stretching."""
MAX_KEY_FILE_BYTES: Final = 4096
SEALED: Final = b"GLE1"
"""First bytes of a single file that is encrypted."""
_NONCE_BYTES: Final = 12
_COUNTER_BYTES: Final = 6
FRAME_OVERHEAD: Final = _NONCE_BYTES + 16
"""What encryption adds to a frame: its nonce and the tag."""
_FORMAT: Final = 1
_PLAIN_DATABASE: Final = b"SQLite format 3\0"
_DATABASES: Final = ("records.db", "ledger.db", "app.db")
_HEXADECIMAL: Final = re.compile(rb"[0-9a-fA-F]{64}")
_CUT_KEY: Final = re.compile(rb"[0-9a-fA-F\s]+")
"""Never meant as a passphrase. Taken for one, it would make a directory that the whole key does not open."""
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-]{43}=?")
_PR_SET_DUMPABLE: Final = 4

State = Literal["whole", "encrypting", "decrypting"]


class Vault:
    """The keys of one data directory. Nothing prints or pickles it."""

    __slots__ = ("_database", "_files", "_master")

    def __init__(self, master: bytes) -> None:
        self._master = Secret(master)
        self._database = Secret(self._derive(b"databases"))
        self._files: AESGCM | None = None

    def __repr__(self) -> str:
        return "Vault(***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("keys cannot be pickled")

    @property
    def database_key(self) -> Secret:
        """Key of every database."""
        return self._database

    def proof(self) -> str:
        """Return what shows that a key is the right one and does not help to find it."""
        return self._derive(b"proof").hex()

    def seal(self, data: bytes, purpose: str) -> bytes:
        """Return the content of a file that only this key opens, and only for the same purpose."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return SEALED + nonce + self._single_files().encrypt(nonce, data, purpose.encode())

    def unseal(self, sealed: bytes, purpose: str) -> bytes:
        """Return what `seal` was given. Raises EnvironmentUnusable."""
        from cryptography.exceptions import InvalidTag

        if not is_sealed(sealed):
            raise EnvironmentUnusable(f"{purpose}: is not encrypted, although a key is configured")
        nonce = sealed[len(SEALED) : len(SEALED) + _NONCE_BYTES]
        try:
            return self._single_files().decrypt(nonce, sealed[len(SEALED) + _NONCE_BYTES :], purpose.encode())
        except (InvalidTag, ValueError):
            raise EnvironmentUnusable(f"{purpose}: is damaged, or was encrypted with another key") from None

    def frames(self, writer: str) -> FrameCipher:
        """Return the cipher of a journal writer, whose name is never used twice."""
        return FrameCipher(self._derive(b"writer " + writer.encode()))

    def _single_files(self) -> AESGCM:
        if self._files is None:
            self._files = _aes_gcm(self._derive(b"single files"))
        return self._files

    def _derive(self, purpose: bytes) -> bytes:
        """Return a key for a purpose: HKDF-SHA-256 of the master key (RFC 5869), one block."""
        extracted = hmac.digest(b"glassline encryption 1", self._master.reveal(), "sha256")
        return hmac.digest(extracted, purpose + b"\x01", "sha256")


class FrameCipher:
    """Seals the payloads of one writer, each under a nonce that is used once; binds them to the frame's head.

    A counter alone would count the same again in a virtual machine that is put back to a snapshot of its memory; so the
    other half of the nonce is random.
    """

    __slots__ = ("_aes", "_count")

    def __init__(self, key: bytes) -> None:
        self._aes = _aes_gcm(key)
        self._count = 0

    def seal(self, payload: bytes, head: bytes) -> bytes:
        """Return a payload encrypted. A number is spent even when the frame is never written."""
        self._count += 1
        nonce = self._count.to_bytes(_COUNTER_BYTES, "big") + os.urandom(_NONCE_BYTES - _COUNTER_BYTES)
        return nonce + self._aes.encrypt(nonce, payload, head)

    def unseal(self, sealed: bytes, head: bytes) -> bytes | None:
        """Return the payload; None: this key did not seal these bytes for this frame."""
        from cryptography.exceptions import InvalidTag

        try:
            return self._aes.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], head)
        except (InvalidTag, ValueError):
            return None


_vault: Vault | None = None


def vault() -> Vault | None:
    """Return the keys that this process works with; None: nothing is encrypted."""
    return _vault


def use(keys: Vault | None) -> None:
    """Work with these keys from now on."""
    global _vault
    _vault = keys


def unlock(data_dir: Path, key_file: Path | None) -> None:
    """Work with `data_dir` from now on, encrypted when `key_file` is given. Raises EnvironmentUnusable.

    A directory that holds nothing yet becomes an encrypted one. Files are never changed.
    """
    marker = _read_marker(data_dir)
    if key_file is None:
        if marker is not None:
            raise EnvironmentUnusable(f"{data_dir}: is encrypted: name its key in `encryption.key_file`")
        if is_sealed(_head(data_dir / "pepper", len(SEALED))):
            raise EnvironmentUnusable(
                f"{data_dir / MARKER}: is missing, and files are encrypted: restore it from a backup"
            )
        use(None)
        return
    secret = read_key(key_file)
    if marker is None:
        require_marker_unneeded(data_dir)
        if (plain := _first_plain(data_dir)) is not None:
            raise EnvironmentUnusable(
                f"{plain}: is not encrypted, although a key is configured: stop Glassline and run"
                " `glassline migrate --encrypt`"
            )
        marker = create_marker(data_dir, secret, "whole")
    elif marker["state"] != "whole":
        raise EnvironmentUnusable(
            f"{data_dir}: its encryption was changed half-way: run `glassline migrate"
            f" --{marker['state'].removesuffix('ing')}` again"
        )
    use(open_vault(data_dir, secret, marker))
    _leave_no_core()


def open_vault(data_dir: Path, secret: Secret, marker: dict[str, Any]) -> Vault:
    """Return the keys of `data_dir`. Raises EnvironmentUnusable when `secret` is not its key."""
    keys = Vault(_master(secret, bytes.fromhex(marker["salt"])))
    if not hmac.compare_digest(keys.proof(), marker["proof"]):
        raise EnvironmentUnusable(f"{data_dir}: was encrypted with another key than `encryption.key_file` holds")
    return keys


def require_marker_unneeded(data_dir: Path) -> None:
    """Raise EnvironmentUnusable when there are encrypted databases in a directory that has no `encryption.json`."""
    for name in _DATABASES:
        if _head(data_dir / name, 1) and not is_plain_database(data_dir / name):
            raise EnvironmentUnusable(
                f"{data_dir / MARKER}: is missing, or {name} is damaged: restore it from a backup"
            )


def create_marker(data_dir: Path, secret: Secret, state: State) -> dict[str, Any]:
    """Make `data_dir` an encrypted one and return its marker; of two processes that do so at once one wins."""
    salt = secrets.token_bytes(16)
    marker = {"format": _FORMAT, "salt": salt.hex(), "proof": Vault(_master(secret, salt)).proof(), "state": state}
    try:
        write_whole(data_dir / MARKER, json.dumps(marker).encode(), replaces=False)
    except FileExistsError:
        return _read_marker(data_dir) or marker
    except OSError as error:
        raise EnvironmentUnusable(f"{data_dir / MARKER}: {error.strerror}") from error
    return marker


def set_state(data_dir: Path, marker: dict[str, Any], state: State) -> None:
    """Write down how far a change of the encryption has come."""
    write_whole(data_dir / MARKER, json.dumps({**marker, "state": state}).encode())


def read_key(path: Path) -> Secret:
    """Return what the key file holds. Raises EnvironmentUnusable when it cannot be read or others can."""
    try:
        with path.open("rb") as file:
            if (mode := os.fstat(file.fileno()).st_mode & 0o037) != 0:
                raise EnvironmentUnusable(f"{path}: others can read or change the key ({mode:03o}): chmod 600 {path}")
            content = file.read(MAX_KEY_FILE_BYTES + 1).strip()
    except OSError as error:
        raise EnvironmentUnusable(f"{path}: {error.strerror}") from error
    if len(content) > MAX_KEY_FILE_BYTES or len(content) < MIN_PASSPHRASE_BYTES or not content.isascii():
        raise EnvironmentUnusable(
            f"{path}: holds no key: 32 bytes in hexadecimal or base64, or a passphrase of"
            f" {MIN_PASSPHRASE_BYTES} characters and more; `glassline encryption new-key FILE` makes one"
        )
    if _CUT_KEY.fullmatch(content) and not _HEXADECIMAL.fullmatch(content):
        raise EnvironmentUnusable(
            f"{path}: holds {len(content)} hexadecimal digits, and a key has 64: it was cut or written twice"
        )
    return Secret(content)


def is_sealed(data: bytes) -> bool:
    """Say whether these are the first bytes of a single file that is encrypted."""
    return data.startswith(SEALED)


def is_plain_database(path: Path) -> bool:
    """Say whether a file is an SQLite database that anybody can read. Not for one that this process has open."""
    return _head(path, len(_PLAIN_DATABASE)) == _PLAIN_DATABASE


def read_file(path: Path, purpose: str) -> bytes:
    """Return the content of a single file, decrypted when a key is in use. Raises OSError, EnvironmentUnusable."""
    content = path.read_bytes()
    return _vault.unseal(content, purpose) if _vault is not None else content


def sealed(data: bytes, purpose: str) -> bytes:
    """Return `data` as it should lie in a file: encrypted when a key is in use."""
    return _vault.seal(data, purpose) if _vault is not None else data


def read_marker(data_dir: Path) -> dict[str, Any] | None:
    """Return what `encryption.json` says; None: the directory is not encrypted. Raises EnvironmentUnusable."""
    return _read_marker(data_dir)


def _read_marker(data_dir: Path) -> dict[str, Any] | None:
    path = data_dir / MARKER
    try:
        marker = json.loads(path.read_bytes())
        if marker["format"] != _FORMAT:
            raise EnvironmentUnusable(f"{path}: was written by a newer Glassline")
        bytes.fromhex(marker["salt"])
        if not isinstance(marker["proof"], str) or marker["state"] not in ("whole", "encrypting", "decrypting"):
            raise ValueError
    except FileNotFoundError:
        return None
    except OSError as error:
        raise EnvironmentUnusable(f"{path}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError):
        raise EnvironmentUnusable(f"{path}: is damaged: restore it from a backup") from None
    return dict(marker)


def _master(secret: Secret, salt: bytes) -> bytes:
    content = secret.reveal()
    if _HEXADECIMAL.fullmatch(content):
        return bytes.fromhex(content.decode())
    if _BASE64.fullmatch(content):
        try:
            decoded = base64.b64decode(content.rstrip(b"=") + b"=", altchars=b"-_" if _is_url_safe(content) else None)
        except binascii.Error:
            decoded = b""
        if len(decoded) == KEY_BYTES:
            return decoded
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    # RFC 9106's second choice, for machines without 2 GB to spare: 64 MiB and three passes; a tenth of a second.
    return Argon2id(salt=salt, length=KEY_BYTES, iterations=3, lanes=4, memory_cost=64 * 1024).derive(content)


def _is_url_safe(text: bytes) -> bool:
    return b"-" in text or b"_" in text


def _first_plain(data_dir: Path) -> Path | None:
    """Return a file of ours that was written without a key; None: there is none."""
    for name in (*_DATABASES, "pepper"):
        path = data_dir / name
        if _head(path, 1):
            return path
    return next(iter(sorted((data_dir / "journal").glob("*.journal"))), None)


def _head(path: Path, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError:
        return b""


def _aes_gcm(key: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)


def _leave_no_core() -> None:
    """Let no crash write memory, which holds the key, to a disk or to whatever collects cores."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
