"""Codex, not interactive. It is told its base URL by a provider in its configuration; OPENAI_BASE_URL is not read."""

import json
import os
import subprocess

import contract
import tool

CODEX = os.environ["CODEX_BINARY"]
PROVIDER = """
model_provider = "glassline"
check_for_update_on_startup = false

[model_providers.glassline]
name = "Glassline"
base_url = "{base_url}"
env_key = "OPENAI_API_KEY"
wire_api = "responses"
request_max_retries = 2
stream_max_retries = 2

[analytics]
enabled = false
"""


BUILT_IN = """
openai_base_url = "{base_url}"
check_for_update_on_startup = false

[analytics]
enabled = false
"""


def chat(call, config=PROVIDER):
    command = [CODEX, "exec", "--skip-git-repo-check", "--json", "--sandbox", "read-only", "--model", call.model]
    files = [("config.toml", config.format(base_url=call.base_url))]
    env = {"OPENAI_API_KEY": call.api_key, "CODEX_API_KEY": call.api_key}
    said = tool.run([*command, contract.QUESTION], env, home="CODEX_HOME", files=files)
    events = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    items = [event["item"] for event in events if event["type"] == "item.completed"]
    [usage] = [event["usage"] for event in events if event["type"] == "turn.completed"]
    return {"text": [item["text"] for item in items if item["type"] == "agent_message"], "usage": usage}


def websocket(call):
    """Its own provider, at another base URL, is spoken to over a WebSocket."""
    return chat(call, BUILT_IN)


def version():
    done = subprocess.run([CODEX, "--version"], capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.split()[-1]


contract.serve("@openai/codex", {"chat": chat, "websocket": websocket, "error_400": chat, "error_429": chat}, version())
