from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path

import apsw
import pytest

from proxy.admin.client import RemoteKeys, open_keys
from proxy.admin.database import AppDatabase
from proxy.admin.keys import KeyConflictError, KeyRequest, KeyStore, UnknownKeyError
from proxy.admin.unix_socket import unix_address
from proxy.errors import ClientError, EnvironmentUnusable, StoreError
from proxy.gates.keys import KeyRing, decode_snapshot
from proxy.pepper import load_pepper
from tests.admin.test_server import StartAdmin

POLICY = {
    "name": "bob",
    "models": ["gpt-4o*"],
    "upstreams": ["openai"],
    "budgets": [{"limit_usd": "2.50", "rolling": "24h"}],
    "rate_limits": {"requests_per_minute": 60},
}


@contextlib.contextmanager
def open_store(data_dir: Path, taken: Collection[str] = ()) -> Iterator[KeyStore]:
    with AppDatabase(data_dir) as database:
        yield KeyStore(database, taken=taken)


def ring(data_dir: Path) -> KeyRing:
    """Return the keys as a gateway reads them."""
    return KeyRing([], decode_snapshot((data_dir / "run" / "keys.json").read_bytes()), load_pepper(data_dir))


def test_a_new_key_is_what_gateways_accept_and_its_secret_is_nowhere(tmp_path: Path) -> None:
    with open_store(tmp_path) as keys:
        assert ring(tmp_path).find(b"gl-guess") is None
        made = keys.create(KeyRequest.model_validate(POLICY))
        policy = ring(tmp_path).find(made.key.encode())
        assert policy is not None
        assert (policy.name, policy.is_dynamic, policy.upstreams) == ("bob", True, ("openai",))
        assert policy.allows_model("gpt-4o-mini")
        assert not policy.allows_model("o3")
        assert policy.budgets[0].limit_nano_usd == 2_500_000_000
        assert policy.rates[0].requests_per_minute == 60
        keys.revoke("bob")
        assert ring(tmp_path).find(made.key.encode()) is None
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert made.key.encode() not in path.read_bytes(), path.name
            assert path.stat().st_mode & 0o077 == 0, path.name


def test_two_living_keys_never_share_a_name(tmp_path: Path) -> None:
    with open_store(tmp_path, taken=["configured"]) as keys:
        first = keys.create(KeyRequest(name="bob"))
        with pytest.raises(KeyConflictError, match="revoke it first"):
            keys.create(KeyRequest(name="bob"))
        with pytest.raises(KeyConflictError, match="configuration"):
            keys.create(KeyRequest(name="configured"))
        keys.revoke("bob")
        second = keys.create(KeyRequest(name="bob"))
        assert first.key != second.key
        assert [stored.revoked_ms is None for stored in keys.all()] == [False, True]
        with pytest.raises(UnknownKeyError):
            keys.revoke("nobody")


def test_keys_outlive_the_process_and_the_published_file(tmp_path: Path) -> None:
    with open_store(tmp_path) as keys:
        made = keys.create(KeyRequest.model_validate(POLICY))
    (tmp_path / "run" / "keys.json").unlink()
    with open_store(tmp_path) as keys:
        assert [stored.name for stored in keys.all()] == ["bob"]
        assert keys.all()[0].budgets == made.budgets
    assert ring(tmp_path).find(made.key.encode()) is not None


def test_a_key_that_was_ended_without_room_to_say_so_can_be_ended_again(tmp_path: Path) -> None:
    published = tmp_path / "run" / "keys.json"
    with open_store(tmp_path) as keys:
        made = keys.create(KeyRequest(name="bob"))
        before = published.read_bytes()
        published.unlink()
        published.mkdir()
        with pytest.raises(StoreError, match=r"run/keys\.json: "):
            keys.revoke("bob")
        published.rmdir()
        published.write_bytes(before)
        assert ring(tmp_path).find(made.key.encode()) is not None
        with pytest.raises(UnknownKeyError):
            keys.revoke("bob")
        assert ring(tmp_path).find(made.key.encode()) is None


def test_one_process_at_a_time_changes_keys(tmp_path: Path) -> None:
    with AppDatabase(tmp_path), pytest.raises(EnvironmentUnusable, match="another process"):
        AppDatabase(tmp_path)
    AppDatabase(tmp_path).close()


def test_the_database_holds_a_digest_and_four_characters(tmp_path: Path) -> None:
    with open_store(tmp_path) as keys:
        made = keys.create(KeyRequest(name="bob"))
    database = apsw.Connection(str(tmp_path / "app.db"))
    (row,) = database.execute("SELECT digest, last_four FROM keys").fetchall()
    database.close()
    assert len(str(row[0])) == 64
    assert row[1] == made.key[-4:]


def test_a_budget_of_a_key_cannot_be_per_key() -> None:
    with pytest.raises(ValueError, match="cannot be `per: key`"):
        KeyRequest.model_validate({"name": "x", "budgets": [{"limit_usd": 1, "window": "day", "per": "key"}]})


def test_the_command_line_speaks_to_the_running_process_and_does_it_alone_otherwise(
    recorded: Path, start_admin: StartAdmin
) -> None:
    admin = start_admin(recorded)
    with open_keys(recorded) as keys:
        assert isinstance(keys, RemoteKeys)
        made = keys.create(KeyRequest.model_validate(POLICY))
        with pytest.raises(KeyConflictError):
            keys.create(KeyRequest.model_validate(POLICY))
        with pytest.raises(UnknownKeyError):
            keys.revoke("alice")
        with pytest.raises(ClientError, match="normal form"):
            keys.revoke("../../api/keys/bob")
    assert ring(recorded).find(made.key.encode()) is not None
    assert admin.stop() == 0
    with open_keys(recorded) as keys:
        assert isinstance(keys, KeyStore)
        assert keys.revoke("bob").last_four == made.key[-4:]
    assert ring(recorded).find(made.key.encode()) is None


def test_a_killed_admin_leaves_nothing_in_the_way(recorded: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(recorded)
    admin.process.kill_group()
    assert (recorded / "run" / "admin.sock").exists()
    with open_keys(recorded) as keys:
        assert isinstance(keys, KeyStore)
    again = start_admin(recorded)
    with open_keys(recorded) as keys:
        assert isinstance(keys, RemoteKeys)
    assert again.get("/healthz").text == "ok\n"


def test_a_data_directory_may_be_deeper_than_a_socket_address_is_long(tmp_path: Path, start_admin: StartAdmin) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    start_admin(deep)
    with open_keys(deep) as keys:
        assert isinstance(keys, RemoteKeys)
        assert keys.create(KeyRequest(name="bob")).name == "bob"
    with unix_address(deep / "run" / "admin.sock") as address:
        assert len(os.fsencode(address)) < 100
