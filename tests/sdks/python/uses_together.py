"""Together's SDK."""

import contract
import together

MESSAGES = [{"role": "user", "content": contract.QUESTION}]


def client(call):
    return together.Together(base_url=call.base_url, api_key=call.api_key)


def chat(call):
    return client(call).chat.completions.create(model=call.model, messages=MESSAGES, max_tokens=40)


def stream(call):
    return list(client(call).chat.completions.create(model=call.model, messages=MESSAGES, stream=True))


def abort(call):
    pieces = client(call).chat.completions.create(model=call.model, messages=MESSAGES, stream=True)
    taken = contract.take(pieces)
    pieces.close()
    return len(taken)


def environment(call):
    with contract.variables(TOGETHER_BASE_URL=call.base_url, TOGETHER_API_KEY=call.api_key):
        sdk = together.Together()
    return sdk.chat.completions.create(model=call.model, messages=MESSAGES, max_tokens=40)


contract.serve(
    "together",
    {"chat": chat, "environment": environment, "stream": stream, "error_400": chat, "error_429": chat, "abort": abort},
)
