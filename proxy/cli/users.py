"""`glassline users add|list|passwd|role|remove`: who may log in to the admin port."""

from __future__ import annotations

import argparse
import getpass
import sys

from pydantic import SecretStr

from proxy.admin.client import Users, open_users
from proxy.admin.users import StoredUser, UserChange, UserRequest
from proxy.cli.entries import list_entries, read_entry
from proxy.cli.records import now_ms
from proxy.cli.settings import load_settings
from proxy.cli.table import Screen, ago
from proxy.errors import ClientError


def run(arguments: argparse.Namespace) -> int:
    """Run the chosen action."""
    config = load_settings(arguments)
    with open_users(config.data_dir, has_built_in=config.admin.password_file is not None) as users:
        if arguments.action == "list":
            list_users(users, arguments)
        elif arguments.action == "remove":
            removed = users.remove(arguments.name)
            Screen().line(f"{removed.name} is removed; tokens they made stay in force: see glassline tokens list")
        else:
            change(users, arguments)
    return 0


def change(users: Users, arguments: argparse.Namespace) -> None:
    """Make a user, or change one."""
    name, action = arguments.name, arguments.action
    if action == "add":
        wanted = {"name": name, "role": arguments.role, "password": read_password()}
        changed = users.add(read_entry(UserRequest, wanted))
    elif action == "role":
        changed = users.change(name, read_entry(UserChange, {"role": arguments.role}))
    else:
        changed = users.change(name, read_entry(UserChange, {"password": read_password()}))
    done = {"add": "can log in", "role": "has another role", "passwd": "has another password"}[action]
    Screen().line(f"{changed.name} ({changed.role}) {done}")


def read_password() -> SecretStr:
    """Ask for a password, twice, without showing it; where nobody can be asked, take the first line of the input."""
    if not sys.stdin.isatty():
        return SecretStr(sys.stdin.readline().rstrip("\r\n"))
    password = getpass.getpass("Password: ")
    if getpass.getpass("Once more: ") != password:
        raise ClientError("these were two different passwords")
    return SecretStr(password)


def list_users(users: Users, arguments: argparse.Namespace) -> None:
    """List the users."""
    now = now_ms()

    def cells(user: StoredUser) -> list[str]:
        return [user.name, user.role, ago(user.created_ms, now), ago(user.changed_ms, now)]

    list_entries(users.all(), ("NAME", "ROLE", "CREATED", "CHANGED"), cells, as_json=arguments.json)
