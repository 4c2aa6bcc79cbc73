"""Failpoints: nothing without the environment, what it says with it, and never where others can reach us."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.errors import EnvironmentUnusable
from proxy.failpoints import ONCE, VARIABLE, FailpointError, arm, check_unexposed, failpoint


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    arm({})


def test_nothing_is_armed_by_itself() -> None:
    assert not arm({})
    failpoint("anything")


def test_a_rule_can_name_the_pass_at_which_it_acts() -> None:
    arm({VARIABLE: "once:raise:2,from:eio:2+,always:enospc"})
    failpoint("once")
    with pytest.raises(FailpointError):
        failpoint("once")
    failpoint("once")
    failpoint("from")
    for _ in range(2):
        with pytest.raises(OSError, match="Input/output error") as eio:
            failpoint("from")
        assert eio.value.errno == errno.EIO
    with pytest.raises(OSError, match="No space left") as full:
        failpoint("always")
    assert full.value.errno == errno.ENOSPC


@pytest.mark.parametrize(("action", "code"), [("kill", -9), ("exit", 1), ("sleep=0.01", 0)])
def test_a_process_can_be_made_to_die_at_a_point(action: str, code: int) -> None:
    program = "import os; from proxy.failpoints import arm, failpoint; arm(os.environ); failpoint('here')"
    done = subprocess.run([sys.executable, "-c", program], env={**os.environ, VARIABLE: f"here:{action}"}, check=False)
    assert done.returncode == code


def test_with_a_directory_each_rule_acts_once_whichever_process_comes_first(tmp_path: Path) -> None:
    armed = {VARIABLE: "here:kill,there:raise", ONCE: str(tmp_path)}
    program = "import os; from proxy.failpoints import arm, failpoint; arm(os.environ); failpoint('here')"
    codes = [
        subprocess.run([sys.executable, "-c", program], env={**os.environ, **armed}, check=False).returncode
        for _ in range(3)
    ]
    assert codes == [-9, 0, 0]
    arm(armed)
    failpoint("here")
    with pytest.raises(FailpointError):
        failpoint("there")
    failpoint("there")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "there"]


@pytest.mark.parametrize("text", ["name", ":kill", "a:explode", "a:kill=1", "a:kill:0", "a:kill:x", "a:sleep=long"])
def test_text_that_cannot_be_understood_is_an_error(text: str) -> None:
    with pytest.raises(EnvironmentUnusable, match=VARIABLE):
        arm({VARIABLE: text})


def test_failpoints_are_refused_where_others_can_reach_us() -> None:
    check_unexposed({"0.0.0.0": False})  # noqa: S104 - the case in question
    arm({VARIABLE: "a:kill"})
    check_unexposed({"127.0.0.1": True})
    with pytest.raises(EnvironmentUnusable, match=r"0\.0\.0\.0"):
        check_unexposed({"127.0.0.1": True, "0.0.0.0": False})  # noqa: S104
