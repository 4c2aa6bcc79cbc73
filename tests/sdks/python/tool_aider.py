"""aider, not interactive, by OPENAI_API_BASE."""

import sys
from pathlib import Path

import contract
import tool

AIDER = Path(sys.executable).parent / "aider"
FLAGS = (
    "--no-git",
    "--yes-always",
    "--no-check-update",
    "--no-show-model-warnings",
    "--analytics-disable",
    "--no-show-release-notes",
    "--no-pretty",
)


def chat(call, *flags):
    env = {
        "OPENAI_API_BASE": call.base_url,
        "OPENAI_API_KEY": call.api_key,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "TIKTOKEN_CACHE_DIR": "",
    }
    command = [str(AIDER), *FLAGS, *flags, "--model", f"openai/{call.model}", "--message", contract.QUESTION]
    said = tool.run(command, env).partition("Repo-map: disabled")[2].strip()
    if "litellm." in said:  # it ends with 0 whatever happened
        raise tool.ToolFailed(said[-3000:])
    return said.splitlines()


def chat_whole(call):
    return chat(call, "--no-stream")


contract.serve("aider-chat", {"chat": chat_whole, "stream": chat, "error_400": chat_whole})
