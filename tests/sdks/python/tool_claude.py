"""Claude Code, not interactive, by ANTHROPIC_BASE_URL."""

import json
import os
import subprocess

import contract
import tool

CLAUDE = os.environ["CLAUDE_BINARY"]
QUIET = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_MAX_RETRIES": "2",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_TELEMETRY": "1",
    "API_TIMEOUT_MS": "20000",
}


def chat(call):
    command = [CLAUDE, "--print", "--output-format", "json", "--model", call.model, contract.QUESTION]
    env = {"ANTHROPIC_BASE_URL": call.base_url, "ANTHROPIC_API_KEY": call.api_key, **QUIET}
    answer = json.loads(tool.run(command, env))
    return {name: answer.get(name) for name in ("result", "is_error", "num_turns", "stop_reason", "usage")}


def version():
    done = subprocess.run([CLAUDE, "--version"], capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.split()[0]


contract.serve("@anthropic-ai/claude-code", {"chat": chat, "error_400": chat, "error_429": chat}, version())
