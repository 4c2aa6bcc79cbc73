from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from proxy.errors import StoreError
from proxy.migrations import applied_numbers, migrate


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[apsw.Connection]:
    connection = apsw.Connection(str(tmp_path / "x.db"))
    yield connection
    connection.close()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = tmp_path / "migrations"
    directory.mkdir()
    (directory / "0001_first.sql").write_text("CREATE TABLE a (x INTEGER); INSERT INTO a VALUES (1);")
    (directory / "0002_second.sql").write_text("ALTER TABLE a ADD COLUMN y TEXT;")
    (directory / "README.md").write_text("not a migration")
    return directory


def test_migrations_are_applied_in_order_and_once(connection: apsw.Connection, directory: Path) -> None:
    assert migrate(connection, directory) == 2
    assert migrate(connection, directory) == 2
    assert connection.execute("SELECT x, y FROM a").fetchall() == [(1, None)]
    rows = connection.execute("SELECT number, name FROM migrations").fetchall()
    assert rows == [(1, "0001_first.sql"), (2, "0002_second.sql")]


def test_a_later_migration_is_added_to_a_database_in_use(connection: apsw.Connection, directory: Path) -> None:
    migrate(connection, directory)
    (directory / "0003_third.sql").write_text("CREATE TABLE b (x INTEGER);")
    assert migrate(connection, directory) == 3
    assert applied_numbers(connection) == {1, 2, 3}


def test_a_migration_that_fails_leaves_nothing_behind(connection: apsw.Connection, directory: Path) -> None:
    (directory / "0003_third.sql").write_text("CREATE TABLE b (x INTEGER); INSERT INTO nowhere VALUES (1);")
    with pytest.raises(StoreError):
        migrate(connection, directory)
    assert applied_numbers(connection) == {1, 2}
    assert connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'b'").get == 0
    assert not connection.in_transaction


def test_a_database_from_the_future_is_refused(connection: apsw.Connection, directory: Path) -> None:
    migrate(connection, directory)
    connection.execute("INSERT INTO migrations (number, name) VALUES (7, '0007_future.sql')")
    with pytest.raises(StoreError, match="version 7"):
        migrate(connection, directory)
