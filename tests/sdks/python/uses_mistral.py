"""Mistral's SDK, which adds /v1 to its server URL itself."""

import asyncio

import contract
from mistralai.client import Mistral

MESSAGES = [{"role": "user", "content": contract.QUESTION}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": contract.TOOL,
            "description": contract.TOOL_DESCRIPTION,
            "parameters": contract.TOOL_SCHEMA,
        },
    }
]


def client(call):
    return Mistral(server_url=call.base_url, api_key=call.api_key)


def chat(call):
    with client(call) as sdk:
        return sdk.chat.complete(model=call.model, messages=MESSAGES, max_tokens=40)


def stream(call):
    with client(call) as sdk, sdk.chat.stream(model=call.model, messages=MESSAGES) as events:
        return list(events)


def tools(call):
    """A call, its result, and the answer to that."""
    with client(call) as sdk:
        first = sdk.chat.complete(model=call.model, messages=MESSAGES, tools=TOOLS, tool_choice="required")
        wanted = first.choices[0].message
        done = [
            {"role": "tool", "tool_call_id": made.id, "name": made.function.name, "content": "{}"}
            for made in wanted.tool_calls
        ]
        return [first, sdk.chat.complete(model=call.model, messages=[*MESSAGES, wanted, *done], tools=TOOLS)]


def abort(call):
    with client(call) as sdk, sdk.chat.stream(model=call.model, messages=MESSAGES) as events:
        return len(contract.take(events))


def async_stream(call):
    async def run():
        async with Mistral(server_url=call.base_url, api_key=call.api_key) as sdk:
            events = await sdk.chat.stream_async(model=call.model, messages=MESSAGES)
            return [event async for event in events]

    return asyncio.run(run())


contract.serve(
    "mistralai",
    {
        "chat": chat,
        "stream": stream,
        "tools": tools,
        "error_400": chat,
        "error_429": chat,
        "abort": abort,
        "async_stream": async_stream,
    },
)
