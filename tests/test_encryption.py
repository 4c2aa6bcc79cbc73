from __future__ import annotations

import base64
import contextlib
import copy
import io
import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import encryption
from proxy.cli import main
from proxy.encryption import MARKER, Vault, read_file, sealed, unlock, vault
from proxy.errors import EnvironmentUnusable
from proxy.journal import CHUNK_RESPONSE, JournalReader, JournalWriter
from proxy.journal.quarantine import Quarantine
from proxy.pepper import load_pepper
from proxy.secrets import Secret
from tests.recorder.builders import make_begin, make_end

KEY = "5f" * 32
CANARY = b"canary-a2f0e9"


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget the keys that a test used, and let this process still leave a core."""
    monkeypatch.setattr(encryption, "_leave_no_core", lambda: None)
    yield
    encryption.use(None)


def key_file(directory: Path, content: str = KEY, mode: int = 0o600) -> Path:
    path = directory / "key"
    path.write_text(content + "\n")
    path.chmod(mode)
    return path


def unlocked(data_dir: Path, key: Path | None) -> Vault | None:
    """Return the keys with which a process would work."""
    unlock(data_dir, key)
    return vault()


# --- the key -----------------------------------------------------------------------------------------------------


def test_the_same_key_in_any_spelling_opens_the_directory(tmp_path: Path) -> None:
    raw = bytes.fromhex(KEY)
    spellings = [KEY, KEY.upper(), base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode().rstrip("=")]
    for spelling in spellings:
        keys = unlocked(tmp_path / "data", key_file(tmp_path, spelling))
        assert keys is not None
        assert keys.database_key == Vault(raw).database_key


def test_a_passphrase_is_stretched_with_the_salt_of_the_directory(tmp_path: Path) -> None:
    key = key_file(tmp_path, "correct horse battery staple")
    first, again, other = (unlocked(tmp_path / name, key) for name in ("a", "a", "b"))
    assert first is not None
    assert again is not None
    assert other is not None
    assert first.database_key == again.database_key
    assert first.database_key != other.database_key


@pytest.mark.parametrize("content", [KEY[:-1], KEY[:32], KEY + KEY, KEY + "\n" + KEY, KEY[:40] + "\n" + KEY[40:]])
def test_a_key_that_was_cut_or_written_twice_is_no_passphrase(tmp_path: Path, content: str) -> None:
    with pytest.raises(EnvironmentUnusable, match="a key has 64"):
        unlock(tmp_path / "data", key_file(tmp_path, content))
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("content", ["", "short", "x" * 5000, "päss" * 10])
def test_what_is_no_key_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(EnvironmentUnusable, match="holds no key") as caught:
        unlocked(tmp_path / "data", key_file(tmp_path, content))
    assert not content or content not in str(caught.value)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o620, 0o660, 0o666, 0o601])
def test_a_key_that_others_can_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(EnvironmentUnusable, match="chmod 600"):
        unlocked(tmp_path / "data", key_file(tmp_path, mode=mode))


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o440, 0o640])
def test_a_key_for_its_owner_and_at_most_to_read_for_its_group_is_accepted(tmp_path: Path, mode: int) -> None:
    assert unlocked(tmp_path / "data", key_file(tmp_path, mode=mode)) is not None


def test_another_key_is_told_before_any_file_is_touched(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    unlocked(data_dir, key_file(tmp_path))
    load_pepper(data_dir)
    before = {path.name: path.read_bytes() for path in data_dir.iterdir()}
    with pytest.raises(EnvironmentUnusable, match="another key"):
        unlocked(data_dir, key_file(tmp_path, "ab" * 32))
    with pytest.raises(EnvironmentUnusable, match=r"`encryption\.key_file`"):
        unlocked(data_dir, None)
    assert {path.name: path.read_bytes() for path in data_dir.iterdir()} == before


@pytest.mark.parametrize(
    "name", ["records.db", "ledger.db", "app.db", "pepper", "journal/1-gateway-0-b-c.00000000.journal"]
)
def test_with_a_key_a_directory_that_is_not_encrypted_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "data" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"SQLite format 3\0" + bytes(100))
    with pytest.raises(EnvironmentUnusable, match="migrate --encrypt"):
        unlocked(tmp_path / "data", key_file(tmp_path))
    assert not (tmp_path / "data" / MARKER).exists()


def test_encrypted_databases_without_their_marker_are_not_taken_for_plain_ones(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "records.db").write_bytes(os.urandom(4096))
    with pytest.raises(EnvironmentUnusable, match=r"encryption\.json: is missing"):
        unlocked(data_dir, key_file(tmp_path))


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"format": 1}', '{"format": 9, "salt": "00", "proof": "", "state": "whole"}']
)
def test_a_damaged_marker_is_one_clear_line(tmp_path: Path, content: str) -> None:
    (tmp_path / MARKER).write_text(content)
    with pytest.raises(EnvironmentUnusable, match=r"encryption\.json"):
        unlocked(tmp_path, key_file(tmp_path))


def test_an_encrypted_directory_without_its_marker_is_not_opened_without_a_key_either(tmp_path: Path) -> None:
    unlock(tmp_path / "data", key_file(tmp_path))
    load_pepper(tmp_path / "data")
    (tmp_path / "data" / MARKER).unlink()
    with pytest.raises(EnvironmentUnusable, match="is missing, and files are encrypted"):
        unlock(tmp_path / "data", None)


def test_a_process_that_holds_a_key_leaves_no_core(tmp_path: Path) -> None:
    script = (
        "import resource, ctypes, sys; from pathlib import Path; from proxy.encryption import unlock;"
        "unlock(Path(sys.argv[1]), Path(sys.argv[2]));"
        "print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "data"), str(key_file(tmp_path))]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told.strip() == "(0, 0) 0"


# --- what the keys do --------------------------------------------------------------------------------------------


def test_keys_are_shown_and_taken_out_by_nothing() -> None:
    keys = Vault(bytes.fromhex(KEY))
    for shown in (repr(keys), str(keys), f"{keys}", f"{keys.database_key!r:>9}", str({"k": keys.database_key})):
        assert "***" in shown
    for take_out in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps):
        with pytest.raises(TypeError):
            take_out(keys)
    with pytest.raises(TypeError):
        vars(keys)


def test_each_purpose_and_each_writer_has_a_key_of_its_own() -> None:
    keys = Vault(bytes.fromhex(KEY))
    frame = keys.frames("one").seal(b"payload", b"head")
    assert keys.frames("one").unseal(frame, b"head") == b"payload"
    assert keys.frames("two").unseal(frame, b"head") is None
    assert keys.frames("one").unseal(frame, b"Head") is None
    content = keys.seal(b"content", "pepper")
    assert keys.unseal(content, "pepper") == b"content"
    for other, purpose in ((keys, "jobs"), (Vault(b"o" * 32), "pepper")):
        with pytest.raises(EnvironmentUnusable, match="another key"):
            other.unseal(content, purpose)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_opening_of_a_frame(data: bytes) -> None:
    assert Vault(b"k" * 32).frames("writer").unseal(data, b"head") is None


def test_no_number_is_used_twice_by_a_writer() -> None:
    cipher = Vault(b"k" * 32).frames("writer")
    frames = [cipher.seal(b"the same payload", b"the same head") for _ in range(1000)]
    assert len({frame[:6] for frame in frames}) == 1000
    assert len({frame[12:] for frame in frames}) == 1000


def test_a_writer_that_is_put_back_to_an_earlier_state_of_its_memory_uses_no_nonce_again() -> None:
    keys = Vault(b"k" * 32)
    lives = [[cipher.seal(b"payload", b"head") for _ in range(100)] for cipher in (keys.frames("w"), keys.frames("w"))]
    assert not {frame[:12] for frame in lives[0]} & {frame[:12] for frame in lives[1]}


# --- files -------------------------------------------------------------------------------------------------------


def read_all(directory: Path) -> list[bytes]:
    reader, found = JournalReader(directory), []
    while frames := reader.poll(1 << 20):
        found += [frame.payload for frame in frames]
    reader.close()
    return found


def write_journal(directory: Path, segment_bytes: int = 64 * 1024 * 1024) -> Path:
    writer = JournalWriter(directory, "gateway-0", segment_bytes=segment_bytes)
    for _ in range(20):
        number = writer.begin(make_begin(), CANARY * 3)
        writer.chunk(CHUNK_RESPONSE, number, CANARY * 300)
        writer.end(number, make_end(), CANARY)
    writer.whole(make_begin(), make_end(), CANARY, CANARY)
    writer.close()
    return sorted(directory.glob("*.journal"))[0]


def test_an_encrypted_journal_reads_like_a_plain_one_and_shows_nothing(tmp_path: Path) -> None:
    write_journal(tmp_path / "plain", 20_000)
    plain = read_all(tmp_path / "plain")
    encryption.use(Vault(b"k" * 32))
    write_journal(tmp_path / "sealed", 20_000)
    sealed_payloads = read_all(tmp_path / "sealed")
    assert sum(CANARY in payload for payload in plain) > 40
    assert [len(each) for each in sealed_payloads][1:4] == [len(each) for each in plain][1:4]
    assert sealed_payloads[2] == plain[2] == CANARY * 300
    assert len(list((tmp_path / "sealed").glob("*.journal"))) > 3, "it was written over several segments"
    assert not [path for path in (tmp_path / "sealed").iterdir() if CANARY in path.read_bytes()]


def test_a_frame_that_was_delivered_can_be_read_again(tmp_path: Path) -> None:
    encryption.use(Vault(b"k" * 32))
    write_journal(tmp_path)
    reader = JournalReader(tmp_path)
    frames = reader.poll(1 << 20)
    assert len(frames) > 60
    for frame in frames:
        assert reader.read(frame.segment, frame.offset, 3) == frame.payload[3:]
    reader.close()


def test_one_bad_byte_costs_one_frame_and_another_key_reads_none(tmp_path: Path) -> None:
    encryption.use(Vault(b"k" * 32))
    segment = write_journal(tmp_path)
    whole = read_all(tmp_path)
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    assert len(read_all(tmp_path)) == len(whole) - 1
    encryption.use(Vault(b"o" * 32))
    assert read_all(tmp_path) == []


def test_a_plain_frame_is_not_believed_where_all_is_encrypted(tmp_path: Path) -> None:
    write_journal(tmp_path)
    encryption.use(Vault(b"k" * 32))
    assert read_all(tmp_path) == []


def test_single_files_are_encrypted(tmp_path: Path) -> None:
    encryption.use(Vault(b"k" * 32))
    pepper = load_pepper(tmp_path)
    assert pepper == load_pepper(tmp_path)
    assert pepper.reveal() not in (tmp_path / "pepper").read_bytes()
    Quarantine(tmp_path / "bad").save("piece", CANARY)
    assert CANARY not in (tmp_path / "bad" / "piece").read_bytes()
    assert read_file(tmp_path / "bad" / "piece", "quarantine") == CANARY
    encryption.use(None)
    assert sealed(CANARY, "anything") == CANARY


# --- commands ----------------------------------------------------------------------------------------------------


def config_file(directory: Path, key: Path | None) -> list[str]:
    path = directory / "config.yaml"
    path.write_text(f"data_dir: {directory / 'data'}\n" + (f"encryption: {{key_file: {key}}}\n" if key else ""))
    return ["-c", str(path)]


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def glassline(directory: Path, key: Path | None, *arguments: str) -> Done:
    """Run a command as a process would, in this one."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([*arguments, *config_file(directory, key)])
    return Done(code, out.getvalue(), err.getvalue())


def glassline_that_dies(directory: Path, key: Path | None, point: str, *arguments: str) -> int:
    """Run a command in a process of its own that ends at a failpoint; return its exit code."""
    command = [sys.executable, "-m", "proxy", *arguments, *config_file(directory, key)]
    env = {**os.environ, "GLASSLINE_FAILPOINTS": f"{point}:kill"}
    return subprocess.run(command, capture_output=True, check=False, env=env).returncode


def test_a_new_key_is_private_and_never_replaces_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "key"
    assert main(["encryption", "new-key", str(path)]) == 0
    assert path.stat().st_mode & 0o777 == 0o600
    key = path.read_text().strip()
    assert len(bytes.fromhex(key)) == 32
    assert main(["encryption", "new-key", str(path)]) == 78
    assert path.read_text().strip() == key
    output = capsys.readouterr()
    assert key not in output.out + output.err


def test_a_directory_is_encrypted_and_decrypted_whatever_interrupts_it(tmp_path: Path) -> None:
    key, data_dir = key_file(tmp_path), tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "journal").mkdir()
    Quarantine(data_dir / "journal" / "bad").save("piece", CANARY)
    made = glassline(tmp_path, None, "keys", "create", "team-with-a-name-to-find")
    assert made.returncode == 0, made.stderr
    refused = glassline(tmp_path, key, "keys", "list")
    assert (refused.returncode, refused.stderr.count("\n")) == (78, 1)
    assert "migrate --encrypt" in refused.stderr
    for point in ("encryption.before_database", "encryption.before_replace"):
        assert glassline_that_dies(tmp_path, key, point, "migrate", "--encrypt") == -signal.SIGKILL
        assert "half-way" in glassline(tmp_path, key, "keys", "list").stderr
        assert glassline(tmp_path, None, "keys", "list").returncode == 78
    done = glassline(tmp_path, key, "migrate", "--encrypt")
    assert done.returncode == 0, done.stderr
    content = b"".join(path.read_bytes() for path in data_dir.rglob("*") if path.is_file())
    assert b"team-with-a-name-to-find" not in content
    assert CANARY not in content
    assert "team-with-a-name-to-find" in glassline(tmp_path, key, "keys", "list").stdout
    assert "already" in glassline(tmp_path, key, "migrate", "--encrypt").stdout
    assert glassline(tmp_path, key, "migrate", "--decrypt").returncode == 0
    assert not (data_dir / MARKER).exists()
    assert "team-with-a-name-to-find" in glassline(tmp_path, None, "keys", "list").stdout


@pytest.mark.parametrize("content", [KEY, "a passphrase that people can remember"], ids=["key", "passphrase"])
def test_a_backup_is_restored_elsewhere_with_the_same_key_and_with_no_other(tmp_path: Path, content: str) -> None:
    here, there, wrong = tmp_path / "here", tmp_path / "there", tmp_path / "wrong"
    for place in (here, there, wrong):
        (place / "data").mkdir(parents=True)
    key, same, other = key_file(here, content), key_file(there, content), key_file(wrong, "ab" * 32)
    assert glassline(here, key, "keys", "create", "team-with-a-name-to-find").returncode == 0
    backup = tmp_path / "backup.tar"
    assert glassline(here, key, "backup", str(backup)).returncode == 0
    assert b"team-with-a-name-to-find" not in backup.read_bytes()
    restored = glassline(there, same, "restore", str(backup))
    assert restored.returncode == 0, restored.stderr
    assert "team-with-a-name-to-find" in glassline(there, same, "keys", "list").stdout
    for used in (other, None):
        refused = glassline(wrong, used, "restore", str(backup))
        assert (refused.returncode, refused.stderr.count("\n")) == (78, 1), refused.stderr
        assert not (wrong / "data" / "app.db").exists()


def test_a_journal_that_is_not_in_the_database_yet_is_not_left_behind(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write_journal(tmp_path / "data" / "journal")
    refused = glassline(tmp_path, key_file(tmp_path), "migrate", "--encrypt")
    assert refused.returncode == 78
    assert "not in the database yet" in refused.stderr


def test_secrets_compare_by_their_value_only() -> None:
    assert Secret(b"a") == Secret(b"a")
    assert Secret(b"a") != Secret(b"b")
    assert Secret(b"a") != b"a"
    assert not Secret(b"")
    with pytest.raises(TypeError):
        hash(Secret(b"a"))


def test_a_cipher_that_is_off_loads_nothing() -> None:
    script = "import sys, proxy.encryption, proxy.journal; print([m for m in sys.modules if 'cryptography' in m])"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert told.strip() == "[]"
