"""Users, tokens and sessions, without a server: what they let happen and what stays of them on the disk."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.admin.audit import AuditLog
from proxy.admin.authentication import Door, Stores, built_in_account, read_basic, read_cookie
from proxy.admin.database import FAILURE, AppDatabase, note
from proxy.admin.guard import Access, Refusal
from proxy.admin.identity import LOCAL, Identity
from proxy.admin.passwords import AT_ONCE, MAX_WAITING, Checker, TooBusyError, hash_password, is_password
from proxy.admin.sessions import MAX_PER_USER, SessionStore
from proxy.admin.tokens import TokenConflictError, TokenRequest, TokenStore, UnknownTokenError
from proxy.admin.users import UnknownUserError, UserChange, UserConflictError, UserRequest, UserStore
from proxy.clock import Clock
from proxy.gates.failures import Failures

HOUR_S = 3600.0
CORRECT = "correct horse"


class Time:
    """A clock in the hand."""

    def __init__(self) -> None:
        self.now_s = 1_790_000_000.0

    @property
    def clock(self) -> Clock:
        return Clock(lambda: int(self.now_s * 1000), lambda: self.now_s)


class House:
    """All stores of one data directory."""

    def __init__(self, data_dir: Path, time: Time, *, password: bytes | None = None) -> None:
        self.time = time
        self.database = AppDatabase(data_dir, clock=time.clock)
        self.users = UserStore(self.database, has_built_in=password is not None)
        self.tokens = TokenStore(self.database)
        self.sessions = SessionStore(self.database, idle_s=HOUR_S, lifetime_s=24 * HOUR_S)
        self.audit = AuditLog(self.database)
        stores = Stores(self.users, self.tokens, self.sessions, self.audit)
        account = built_in_account(Access("127.0.0.1", password=password), self.database.pepper)
        self.door = Door(account, stores, Failures(20), clock=time.clock)

    def close(self) -> None:
        self.door.close()
        self.database.close()

    def who(self, *headers: tuple[bytes, bytes]) -> Identity | Refusal:
        fields: dict[bytes, list[bytes]] = {}
        for name, value in headers:
            fields.setdefault(name, []).append(value)
        return asyncio.run(self.door.identify(fields, "10.0.0.1"))

    def with_cookie(self, cookie: str) -> Identity | Refusal:
        return self.who((b"cookie", b"other=1; glassline_session=" + cookie.encode()))


def user(name: str, role: str = "admin", password: str = CORRECT) -> UserRequest:
    return UserRequest.model_validate({"name": name, "role": role, "password": password})


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path, Time())
    yield made
    made.close()


@pytest.fixture
def reopen(house: House, tmp_path: Path) -> Iterator[Any]:
    opened: list[House] = []

    def again(**more: Any) -> House:
        (opened[-1] if opened else house).close()
        opened.append(House(tmp_path, house.time, **more))
        return opened[-1]

    yield again
    if opened:
        opened[-1].close()
        house.close = lambda: None  # type: ignore[method-assign] # it is closed already


def test_nobody_is_asked_until_there_is_somebody_to_ask_for(house: House) -> None:
    assert house.who() == Identity("anyone", "admin", "open", "10.0.0.1")
    house.users.add(user("ann"))
    assert isinstance(house.who(), Refusal)


def test_a_token_closes_the_port_and_revoking_it_does_not_open_it_again(house: House, reopen: Any) -> None:
    made = house.tokens.create(TokenRequest(name="ci"))
    assert isinstance(house.who(), Refusal)
    house.tokens.revoke("ci")
    assert isinstance(house.who(), Refusal)
    assert isinstance(reopen().who((b"authorization", b"Bearer " + made.token.encode())), Refusal)


def test_the_first_user_is_an_admin_and_an_admin_always_remains(house: House) -> None:
    with pytest.raises(UserConflictError, match="first user must be an admin"):
        house.users.add(user("bob", "viewer"))
    house.users.add(user("ann"))
    house.users.add(user("bob", "viewer"))
    with pytest.raises(UserConflictError, match="last admin"):
        house.users.remove("ann")
    with pytest.raises(UserConflictError, match="last admin"):
        house.users.change("ANN", UserChange(role="viewer"))
    house.users.add(user("cleo"))
    house.users.remove("ann")
    assert [each.name for each in house.users.all()] == ["bob", "cleo"]


def test_nobody_changes_their_own_role_or_removes_themselves(house: House) -> None:
    house.users.add(user("ann"))
    house.users.add(user("bob"))
    for ann in (Identity("ANN", "admin", "user"), Identity("ANN", "admin", "session")):
        with pytest.raises(UserConflictError, match="themselves"):
            house.users.change("ann", UserChange(role="editor"), ann)
        with pytest.raises(UserConflictError, match="themselves"):
            house.users.remove("ann", ann)
        house.users.change("ann", UserChange.model_validate({"password": "another password"}), ann)


def test_a_name_is_borne_once_in_whatever_case_and_admin_is_the_built_in_one_s(house: House) -> None:
    house.users.add(user("ann"))
    for name in ("ann", "Ann", "admin", "ADMIN"):
        with pytest.raises(UserConflictError):
            house.users.add(user(name))
    with pytest.raises(UnknownUserError):
        house.users.remove("nobody")


@pytest.mark.parametrize("name", ["local", "Anyone"])
def test_no_user_bears_a_name_that_the_audit_gives_to_somebody_else(house: House, name: str) -> None:
    with pytest.raises(UserConflictError, match="choose another name"):
        house.users.add(user(name))


def test_a_token_that_makes_tokens_is_not_taken_for_a_user_of_its_name(house: House) -> None:
    house.users.add(user("ann"))
    made = house.tokens.create(TokenRequest(name="ci"), Identity("ann", "admin", "token"))
    assert made.created_by == house.audit.lines(limit=1)[0].actor == "token:ann"


@pytest.mark.parametrize("other", ['a={"b": 1}', "a[0]=1", "ä=ö", "=", "a", ""])
def test_the_cookies_of_others_on_this_host_hide_no_session(house: House, other: str) -> None:
    house.users.add(user("ann"))
    cookie = house.sessions.begin(Identity("ann", "admin", "user"), house.users.find("ann").stamp)  # type: ignore[union-attr]
    line = f"{other}; glassline_session={cookie}; {other}".encode()
    assert getattr(house.who((b"cookie", line)), "name", "") == "ann"


def test_of_two_sessions_that_differ_none_is_believed() -> None:
    assert read_cookie({b"cookie": [b"x=1; x=2"]}, "x") == ""


def test_with_a_password_file_the_first_user_may_be_a_viewer(tmp_path: Path) -> None:
    house = House(tmp_path, Time(), password=b"correct horse")
    house.users.add(user("bob", "viewer"))
    house.users.remove("bob")
    assert isinstance(house.who(), Refusal), "the file still asks"
    house.close()


def test_no_secret_can_be_found_on_the_disk(house: House, tmp_path: Path) -> None:
    house.users.add(user("ann", password="a-password-nobody-has"))
    token = house.tokens.create(TokenRequest(name="ci")).token
    cookie = house.sessions.begin(Identity("ann", "admin", "user"), b"s" * 32)
    house.door.close()
    for path in tmp_path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for secret in ("a-password-nobody-has", token, token.removeprefix("glt-"), cookie):
                assert secret.encode() not in content, path.name
            assert path.stat().st_mode & 0o077 == 0, path.name


def test_passwords_are_kept_as_argon2id_with_a_salt_of_their_own() -> None:
    first, second = hash_password(b"correct horse"), hash_password(b"correct horse")
    assert first.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert first != second
    assert is_password(b"correct horse", first)
    assert not is_password(b"correct horsf", first)


async def test_a_flood_of_passwords_waits_in_a_short_line() -> None:
    checker = Checker()
    kept = hash_password(b"correct horse")
    results = await asyncio.gather(*(checker.check(b"guess", kept) for _ in range(100)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, TooBusyError)]
    assert len(refused) == 100 - AT_ONCE - MAX_WAITING
    assert [result for result in results if result is False] == [False] * (AT_ONCE + MAX_WAITING)
    assert await checker.check(b"correct horse", kept)
    assert not await checker.check(b"correct horse", None), "nobody has no password"
    checker.close()


async def test_a_password_that_nobody_had_time_to_check_is_not_counted_as_wrong(house: House) -> None:
    house.users.add(user("ann"))
    full = [f"10.0.1.{number}" for number in range(AT_ONCE + MAX_WAITING)]
    answers = [house.door.by_password("ann", b"a guess", address) for address in [*full, *["10.0.2.1"] * 25]]
    results = await asyncio.gather(*answers, return_exceptions=True)
    assert [type(result) for result in results[len(full) :]] == [TooBusyError] * 25
    found = await house.door.by_password("ann", b"a guess", "10.0.2.1")
    assert isinstance(found, Refusal)
    assert found.status == 401, "checked at last, and not limited"


def test_a_token_is_in_force_until_it_expires_or_is_revoked(house: House, reopen: Any) -> None:
    made = house.tokens.create(TokenRequest.model_validate({"name": "ci", "role": "editor", "expires": "30d"}))
    header = (b"authorization", b"Bearer " + made.token.encode())
    assert house.who(header) == Identity("ci", "editor", "token", "10.0.0.1")
    again = reopen()
    again.time.now_s += 30 * 24 * HOUR_S - 1
    assert isinstance(again.who(header), Identity)
    again.time.now_s += 1
    assert isinstance(again.who(header), Refusal)
    successor = again.tokens.create(TokenRequest(name="ci"))
    assert isinstance(again.who((b"authorization", b"Bearer " + successor.token.encode())), Identity)
    with pytest.raises(TokenConflictError):
        again.tokens.create(TokenRequest(name="ci"))
    again.tokens.revoke("ci")
    assert isinstance(again.who((b"authorization", b"Bearer " + successor.token.encode())), Refusal)
    with pytest.raises(UnknownTokenError):
        again.tokens.revoke("ci")


def test_the_last_use_of_a_token_is_known_to_the_minute(house: House) -> None:
    made = house.tokens.create(TokenRequest(name="ci"))
    header = (b"authorization", b"bearer " + made.token.encode())
    assert house.tokens.all()[0].used_ms is None
    house.who(header)
    first = house.tokens.all()[0].used_ms
    assert first == house.time.clock.wall_ms()
    house.time.now_s += 30
    house.who(header)
    assert house.tokens.all()[0].used_ms == first, "not written with every use"
    house.time.now_s += 31
    house.who(header)
    assert house.tokens.all()[0].used_ms == house.time.clock.wall_ms()


@pytest.mark.parametrize("expires", [0, -1, "1e400", "soon", 1e300, True])
def test_a_token_expires_at_a_time_that_can_be_written_down(expires: object) -> None:
    with pytest.raises(ValueError, match="expires"):
        TokenRequest.model_validate({"name": "ci", "expires": expires})


def test_a_disk_that_takes_no_more_keeps_nobody_out(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.users.add(user("ann"))
    token = house.tokens.create(TokenRequest(name="ci")).token
    cookie = house.sessions.begin(Identity("ann", "admin", "user"), house.users.find("ann").stamp)  # type: ignore[union-attr]
    with house.database.change() as connection:
        connection.pragma("query_only", True)
    for _ in range(3):
        house.time.now_s += 0.9 * HOUR_S
        assert getattr(house.who((b"authorization", b"Bearer " + token.encode())), "name", "") == "ci"
        assert getattr(house.with_cookie(cookie), "name", "") == "ann"
    wrong = house.who((b"authorization", b"Basic YW5uOndyb25n"))
    assert isinstance(wrong, Refusal)
    assert wrong.status == 401
    assert house.door.unwritten == 7
    assert caplog.text.count("cannot be written down") == 1


def test_a_session_ends_when_it_is_idle_and_when_it_is_old(house: House, reopen: Any) -> None:
    house.users.add(user("ann"))
    account = house.users.find("ann")
    assert account is not None
    cookie = house.sessions.begin(Identity("ann", "admin", "user"), account.stamp)
    assert house.with_cookie(cookie) == Identity(
        "ann", "admin", "session", "10.0.0.1", house.sessions._digest(cookie.encode())
    )
    house = reopen()
    house.time.now_s += HOUR_S + 1
    assert isinstance(house.with_cookie(cookie), Refusal)
    cookie = house.sessions.begin(Identity("ann", "admin", "user"), account.stamp)
    for _ in range(47):
        house.time.now_s += HOUR_S / 2
        assert isinstance(house.with_cookie(cookie), Identity)
    house.time.now_s += HOUR_S
    assert isinstance(house.with_cookie(cookie), Refusal), "it was used all the time, and is old"


@pytest.mark.parametrize("change", [{"role": "editor"}, {"password": "another password"}, None])
def test_another_password_or_role_ends_the_sessions(house: House, change: dict[str, str] | None) -> None:
    house.users.add(user("ann"))
    house.users.add(user("bob"))
    cookies = {}
    for name in ("ann", "bob"):
        account = house.users.find(name)
        assert account is not None
        cookies[name] = house.sessions.begin(Identity(name, "admin", "user"), account.stamp)
    if change is None:
        house.users.remove("bob")
    else:
        house.users.change("bob", UserChange.model_validate(change))
    house.sessions.reload()
    assert isinstance(house.with_cookie(cookies["ann"]), Identity)
    assert isinstance(house.with_cookie(cookies["bob"]), Refusal)
    assert len(house.database.read("SELECT 1 FROM sessions")) == 1


def test_another_password_file_ends_the_sessions_of_the_old_one_and_a_restart_does_not(reopen: Any) -> None:
    first = reopen(password=b"correct horse")
    who = asyncio.run(first.door.by_password("admin", b"correct horse", "10.0.0.1"))
    assert isinstance(who, Identity)
    account = first.door.account("admin")
    assert account is not None
    cookie = first.sessions.begin(who, account.stamp)
    assert isinstance(reopen(password=b"correct horse").with_cookie(cookie), Identity)
    assert isinstance(reopen(password=b"another horse").with_cookie(cookie), Refusal)


def test_a_user_has_so_many_sessions_and_the_quietest_makes_room(house: House) -> None:
    house.users.add(user("ann"))
    account = house.users.find("ann")
    assert account is not None
    cookies = []
    for _ in range(MAX_PER_USER + 1):
        house.time.now_s += 1
        cookies.append(house.sessions.begin(Identity("ann", "admin", "user"), account.stamp))
    assert isinstance(house.with_cookie(cookies[0]), Refusal)
    assert isinstance(house.with_cookie(cookies[1]), Identity)


def test_the_audit_tells_who_did_what_and_no_secret(house: House) -> None:
    ann = Identity("ann", "admin", "session", "10.0.0.7")
    house.users.add(user("ann"))
    house.users.add(user("bob", "viewer"), ann)
    house.users.change("bob", UserChange.model_validate({"role": "editor", "password": "another password"}), ann)
    house.tokens.create(TokenRequest(name="ci"), ann)
    house.tokens.revoke("ci", Identity("deploy", "admin", "token", "10.0.0.8"))
    house.users.remove("bob", ann)
    asyncio.run(house.door.by_password("hunter2 is my password", b"wrong", "10.0.0.9"))
    asyncio.run(house.door.by_password("ann", b"wrong", "10.0.0.9"))
    assert [
        (line.actor, line.action, line.subject, line.address) for line in reversed(house.audit.lines(limit=50))
    ] == [
        ("local", "user.add", "ann (admin)", ""),
        ("ann", "user.add", "bob (viewer)", "10.0.0.7"),
        ("ann", "user.role", "bob (editor)", "10.0.0.7"),
        ("ann", "user.password", "bob", "10.0.0.7"),
        ("ann", "token.create", "ci (viewer)", "10.0.0.7"),
        ("token:deploy", "token.revoke", "ci", "10.0.0.8"),
        ("ann", "user.remove", "bob", "10.0.0.7"),
        ("?", "login.failed", "?", "10.0.0.9"),
        ("?", "login.failed", "ann", "10.0.0.9"),
    ]
    newest, *_ = house.audit.lines(limit=2)
    assert [line.id for line in house.audit.lines(limit=2, before=newest.id)] == [newest.id - 1, newest.id - 2]


def test_strangers_cannot_push_what_others_did_out_of_the_audit(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.admin.database._KEPT_FAILURES", 10)
    house.users.add(user("ann"))
    with house.database.change() as connection:
        for number in range(600):
            note(connection, house.time.clock, LOCAL, FAILURE, f"number {number}")
    lines = house.audit.lines(limit=1000)
    assert lines[-1].action == "user.add"
    assert len(lines) < 300


def test_a_refused_change_leaves_no_line(house: House) -> None:
    house.tokens.create(TokenRequest(name="ci"))
    with pytest.raises(TokenConflictError):
        house.tokens.create(TokenRequest(name="ci"))
    assert len(house.audit.lines(limit=10)) == 1


def test_any_name_means_the_built_in_user_unless_somebody_bears_it(tmp_path: Path) -> None:
    house = House(tmp_path, Time(), password=b"correct horse")
    house.users.add(user("ann", "viewer", "of her own"))

    def who(name: str, password: bytes) -> Identity | Refusal:
        return asyncio.run(house.door.by_password(name, password, "10.0.0.1"))

    assert who("prometheus", b"correct horse") == Identity("admin", "admin", "user", "10.0.0.1")
    assert who("ann", b"of her own") == Identity("ann", "viewer", "user", "10.0.0.1")
    assert isinstance(who("ann", b"correct horse"), Refusal)
    house.close()


def test_a_password_that_was_right_is_not_right_any_more_when_it_was_changed(house: House) -> None:
    house.users.add(user("ann"))
    assert isinstance(asyncio.run(house.door.by_password("ann", b"correct horse", "a")), Identity)
    house.users.change("ann", UserChange.model_validate({"password": "another password"}))
    assert isinstance(asyncio.run(house.door.by_password("ann", b"correct horse", "a")), Refusal)


def test_credentials_of_any_bytes_are_read_or_refused(house: House) -> None:
    house.users.add(user("ann"))
    for value in (b"", b"\xff", b"Basic \xff", b"Basic =", b"Bearer \xff", b"Basic " + b"/" * 9):
        assert isinstance(house.who((b"authorization", value)), Refusal)
    assert read_basic(b"YTpiOmM=") == ("a", b"b:c")
    assert read_basic(b"YQ==") is None
    for line in (b"", b"=", b"a", b"glassline_session", b"glassline_session=\xff", b"\xff=\xff", b"a=b; ; c"):
        assert read_cookie({b"cookie": [line]}, "glassline_session") == ""
    assert read_cookie({b"cookie": [b"glassline_session=x"] * 2}, "glassline_session") == "", "two lines of cookies"
