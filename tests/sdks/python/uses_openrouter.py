"""OpenRouter's SDK."""

import contract
from openrouter import OpenRouter

MESSAGES = [{"role": "user", "content": contract.QUESTION}]


def client(call):
    return OpenRouter(server_url=call.base_url, api_key=call.api_key)


def chat(call):
    with client(call) as sdk:
        return sdk.chat.send(model=call.model, messages=MESSAGES, max_tokens=40)


def stream(call):
    with client(call) as sdk:
        return list(sdk.chat.send(model=call.model, messages=MESSAGES, stream=True))


def abort(call):
    with client(call) as sdk, sdk.chat.send(model=call.model, messages=MESSAGES, stream=True) as pieces:
        return len(contract.take(pieces))


contract.serve("openrouter", {"chat": chat, "stream": stream, "error_400": chat, "error_429": chat, "abort": abort})
