"""The official Anthropic SDK: messages, streams, tools, counting, batches; sync and async."""

import asyncio
import json

import anthropic
import contract

MESSAGES = [{"role": "user", "content": contract.QUESTION}]
TOOLS = [{"name": contract.TOOL, "description": contract.TOOL_DESCRIPTION, "input_schema": contract.TOOL_SCHEMA}]


def client(call):
    return anthropic.Anthropic(base_url=call.base_url, api_key=call.api_key)


def chat(call):
    with client(call) as sdk:
        return sdk.messages.create(model=call.model, messages=MESSAGES, max_tokens=40)


def stream(call):
    with client(call) as sdk:
        return list(sdk.messages.create(model=call.model, messages=MESSAGES, max_tokens=200, stream=True))


def stream_helper(call):
    with client(call) as sdk, sdk.messages.stream(model=call.model, messages=MESSAGES, max_tokens=200) as events:
        return ["".join(events.text_stream), events.get_final_message()]


def tools(call):
    """A call, its result, and the answer to that."""
    with client(call) as sdk:
        asked = {"model": call.model, "max_tokens": 500, "tools": TOOLS}
        first = sdk.messages.create(messages=MESSAGES, tool_choice={"type": "any"}, **asked)
        done = [
            {"type": "tool_result", "tool_use_id": part.id, "content": json.dumps(part.input)}
            for part in first.content
            if part.type == "tool_use"
        ]
        turns = [*MESSAGES, {"role": "assistant", "content": first.content}, {"role": "user", "content": done}]
        return [first, sdk.messages.create(messages=turns, **asked)]


def abort(call):
    with client(call) as sdk:
        events = sdk.messages.create(model=call.model, messages=MESSAGES, max_tokens=1000, stream=True)
        taken = contract.take(events)
        events.close()
        return len(taken)


def async_stream(call):
    async def run():
        async with anthropic.AsyncAnthropic(base_url=call.base_url, api_key=call.api_key) as sdk:
            events = await sdk.messages.create(model=call.model, messages=MESSAGES, max_tokens=200, stream=True)
            return [event async for event in events]

    return asyncio.run(run())


def cached(call):
    """A long system prompt that is to be cached, used twice."""
    system = [{"type": "text", "text": "All work and no play. " * 1500, "cache_control": {"type": "ephemeral"}}]
    with client(call) as sdk:
        asked = {"model": call.model, "max_tokens": 20, "system": system, "messages": MESSAGES}
        return [sdk.messages.create(**asked), sdk.messages.create(**asked)]


def count(call):
    with client(call) as sdk:
        return sdk.messages.count_tokens(model=call.model, messages=MESSAGES)


def models(call):
    with client(call) as sdk:
        return [model.id for model in sdk.models.list()]


def environment(call):
    variables = contract.variables(ANTHROPIC_BASE_URL=call.base_url, ANTHROPIC_API_KEY=call.api_key)
    with variables, anthropic.Anthropic() as sdk:
        return sdk.messages.create(model=call.model, messages=MESSAGES, max_tokens=40)


contract.serve(
    "anthropic",
    {
        "chat": chat,
        "environment": environment,
        "stream": stream,
        "stream_helper": stream_helper,
        "tools": tools,
        "error_400": chat,
        "error_429": chat,
        "abort": abort,
        "async_stream": async_stream,
        "cached": cached,
        "count": count,
        "models": models,
    },
)
