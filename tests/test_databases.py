from __future__ import annotations

import ast
import os
import sqlite3
import traceback
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from proxy import encryption
from proxy.databases import open_copy, open_database, open_database_async, vacuum_into
from proxy.encryption import Vault
from proxy.errors import StoreError
from tests.harness.process import ROOT

CANARY = "canary-5b1d6c0a7e"


@pytest.fixture
def keys() -> Iterator[Vault]:
    """Encrypt what this test opens."""
    keys = Vault(os.urandom(32))
    encryption.use(keys)
    yield keys
    encryption.use(None)


def fill(path: Path) -> apsw.Connection:
    """Return a database with the canary in a table, its log and its free pages."""
    database = open_database(path, "write")
    database.pragma("page_size", 8192)
    database.pragma("journal_mode", "wal")
    database.execute("CREATE TABLE prompts (text TEXT)")
    for _ in range(50):
        database.execute("INSERT INTO prompts VALUES (?)", (CANARY * 40,))
    database.execute("DELETE FROM prompts WHERE rowid > 25")
    return database


def files_with_the_canary(directory: Path) -> list[str]:
    return [path.name for path in sorted(directory.iterdir()) if CANARY.encode() in path.read_bytes()]


def test_a_database_is_private_from_the_first_moment(tmp_path: Path) -> None:
    with closing(fill(tmp_path / "a.db")):
        assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
        assert files_with_the_canary(tmp_path) == ["a.db-wal"], "without a key it is in clear"


@pytest.mark.usefixtures("keys")
def test_nothing_of_an_encrypted_database_can_be_read_from_its_files(tmp_path: Path) -> None:
    with closing(fill(tmp_path / "a.db")) as database:
        assert files_with_the_canary(tmp_path) == []
        database.pragma("wal_checkpoint(truncate)")
        database.execute("CREATE TEMP TABLE sorted AS SELECT text FROM prompts ORDER BY text").fetchall()
        assert files_with_the_canary(tmp_path) == []
    with closing(open_database(tmp_path / "a.db", "read")) as database:
        assert database.execute("SELECT count(*), max(text) FROM prompts").fetchall() == [(25, CANARY * 40)]
        assert database.pragma("cipher") == "chacha20"
        assert database.pragma("temp_store") == 2


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("opened_with", [None, Vault(b"w" * 32)], ids=["no key", "another key"])
def test_without_its_key_an_encrypted_database_is_one_clear_line_and_stays_as_it_is(
    tmp_path: Path, opened_with: Vault | None
) -> None:
    fill(tmp_path / "a.db").close()
    before = (tmp_path / "a.db").read_bytes()
    encryption.use(opened_with)
    for access in ("read", "write"):
        with pytest.raises((StoreError, apsw.NotADBError)) as caught:
            open_database(tmp_path / "a.db", access).execute("SELECT 1 FROM prompts")
        assert "\n" not in str(caught.value)
    assert (tmp_path / "a.db").read_bytes() == before


def test_with_a_key_a_plain_database_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "a.db").close()
    encryption.use(Vault(b"k" * 32))
    try:
        with pytest.raises(StoreError, match=r"^a\.db: is not encrypted"):
            open_database(tmp_path / "a.db", "write")
    finally:
        encryption.use(None)


def test_no_error_shows_the_key(tmp_path: Path, keys: Vault) -> None:
    fill(tmp_path / "a.db").close()
    wrong = Vault(b"w" * 32)
    errors: list[BaseException] = []
    encryption.use(wrong)
    with pytest.raises(StoreError) as caught:
        open_database(tmp_path / "a.db", "read")
    errors.append(caught.value)
    encryption.use(keys)
    with closing(open_database(tmp_path / "a.db", "read")) as database, pytest.raises(StoreError) as caught:
        vacuum_into(database, tmp_path / "no" / "such" / "folder.db", wrong)
    errors.append(caught.value)
    shown = [traceback.TracebackException.from_exception(error, capture_locals=True) for error in errors]
    for error, trace in zip(errors, shown, strict=True):
        told = "".join(trace.format())
        for secret in (wrong.database_key.reveal(), keys.database_key.reveal()):
            assert secret.hex() not in told
            assert secret.hex().encode().hex() not in told
            assert repr(secret) not in told
        assert error.__cause__ is None
        assert error.__context__ is None


@pytest.mark.usefixtures("keys")
async def test_the_event_loops_reader_goes_the_same_way(tmp_path: Path) -> None:
    fill(tmp_path / "a.db").close()
    connection = await open_database_async(tmp_path / "a.db", "read")
    rows = await connection.execute_fetchall("SELECT count(*) FROM prompts WHERE text = ?", (CANARY * 40,))
    assert list(rows) == [(25,)]
    with pytest.raises(apsw.ReadOnlyError):
        await connection.execute_fetchall("DELETE FROM prompts")
    await connection.close()


@pytest.mark.usefixtures("keys")
def test_a_copy_is_encrypted_with_the_same_key(tmp_path: Path) -> None:
    source, target = tmp_path / "a.db", tmp_path / "copies" / "a.db"
    target.parent.mkdir()
    with (
        closing(fill(source)),
        closing(open_database(source, "read")) as origin,
        closing(open_copy(target, origin)) as copy,
    ):
        with copy.backup("main", origin, "main") as backup:
            backup.step(-1)
        assert copy.execute("SELECT count(*) FROM prompts").fetchall() == [(25,)]
    assert files_with_the_canary(target.parent) == []


def test_a_database_can_be_written_anew_with_and_without_a_key(tmp_path: Path) -> None:
    keys = Vault(b"k" * 32)
    with closing(fill(tmp_path / "plain.db")) as database:
        vacuum_into(database, tmp_path / "sealed.db", keys)
    with closing(open_database(tmp_path / "sealed.db", "read", key=keys.database_key)) as database:
        assert database.pragma("page_size") == 8192
        vacuum_into(database, tmp_path / "again.db", None)
    with closing(sqlite3.connect(tmp_path / "again.db")) as plain:
        assert plain.execute("SELECT count(*) FROM prompts").fetchone() == (25,)
    assert CANARY.encode() not in (tmp_path / "sealed.db").read_bytes()


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"^missing\.db: "):
        open_database(tmp_path / "missing.db", "read")
    with pytest.raises(StoreError, match=r"^a\.db: No such file or directory"):
        open_database(tmp_path / "no" / "a.db", "write")


def test_databases_are_opened_in_one_place() -> None:
    openers = {("apsw", "Connection"), ("aiosqlite", "connect"), ("aiosqlite", "Connection"), ("sqlite3", "connect")}
    found = set()
    for path in sorted((ROOT / "proxy").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id=module), attr=name)) if (module, name) in openers:
                    found.add(str(path.relative_to(ROOT)))
    assert found == {"proxy/databases.py"}
