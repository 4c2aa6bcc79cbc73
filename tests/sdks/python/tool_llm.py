"""llm, by OPENAI_BASE_URL."""

import sys
from pathlib import Path

import contract
import tool

LLM = Path(sys.executable).parent / "llm"


def ask(call, *flags):
    env = {"OPENAI_BASE_URL": call.base_url, "OPENAI_API_KEY": call.api_key}
    return tool.run([str(LLM), "--model", call.model, *flags, contract.QUESTION], env, home="LLM_USER_PATH")


def chat(call):
    return ask(call, "--no-stream")


def stream(call):
    return ask(call)


contract.serve("llm", {"chat": chat, "stream": stream, "error_400": chat, "error_429": chat})
