"""A command-line tool, run once for each call in an empty directory of its own."""

import os
import subprocess
import tempfile
from pathlib import Path


class ToolFailed(Exception):
    """The tool ended with an error; the text is what it said."""


def run(command, env, home="", files=()):
    """Run a tool; return what it wrote to stdout. `files`: names and contents to lay into its home first."""
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        for name in ("home", "work"):
            (place / name).mkdir()
        for name, content in files:
            target = place / "home" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)
        variables = os.environ | {"HOME": str(place / "home"), **env}
        if home:
            variables[home] = str(place / "home")
        done = subprocess.run(
            command,
            cwd=place / "work",
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=80,
            check=False,
        )
    if done.returncode != 0:
        raise ToolFailed(f"exit {done.returncode}: {done.stdout[-3000:]} {done.stderr[-3000:]}")
    return done.stdout
