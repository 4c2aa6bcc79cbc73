"""The official OpenAI SDK: chat, streams, tools, Responses, embeddings, models, uploads; sync and async."""

import asyncio
import json

import contract
import openai

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
    return openai.OpenAI(base_url=call.base_url, api_key=call.api_key)


def chat(call):
    with client(call) as sdk:
        return sdk.chat.completions.create(model=call.model, messages=MESSAGES, max_tokens=40)


def stream(call):
    options = {"include_usage": True}
    with client(call) as sdk:
        chunks = sdk.chat.completions.create(model=call.model, messages=MESSAGES, stream=True, stream_options=options)
        return list(chunks)


def stream_plain(call):
    """Usage is not asked for."""
    with client(call) as sdk:
        return list(sdk.chat.completions.create(model=call.model, messages=MESSAGES, max_tokens=40, stream=True))


def tools(call):
    """A call, its result, and the answer to that."""
    with client(call) as sdk:
        first = sdk.chat.completions.create(model=call.model, messages=MESSAGES, tools=TOOLS, tool_choice="required")
        wanted = first.choices[0].message
        done = [
            {"role": "tool", "tool_call_id": made.id, "content": json.dumps({"asked": made.function.arguments})}
            for made in wanted.tool_calls
        ]
        second = sdk.chat.completions.create(model=call.model, messages=[*MESSAGES, wanted, *done], tools=TOOLS)
        return [first, second]


def abort(call):
    with client(call) as sdk:
        chunks = sdk.chat.completions.create(model=call.model, messages=MESSAGES, stream=True)
        taken = contract.take(chunks)
        chunks.close()
        return len(taken)


def async_stream(call):
    async def run():
        async with openai.AsyncOpenAI(base_url=call.base_url, api_key=call.api_key) as sdk:
            chunks = await sdk.chat.completions.create(
                model=call.model, messages=MESSAGES, stream=True, stream_options={"include_usage": True}
            )
            return [chunk async for chunk in chunks]

    return asyncio.run(run())


def parsed(call):
    """An answer that fits a schema."""
    schema = {"name": "answer", "strict": True, "schema": contract.TOOL_SCHEMA}
    with client(call) as sdk:
        return sdk.chat.completions.create(
            model=call.model, messages=MESSAGES, response_format={"type": "json_schema", "json_schema": schema}
        )


def responses(call):
    with client(call) as sdk:
        return sdk.responses.create(model=call.model, input=contract.QUESTION)


def responses_stream(call):
    with client(call) as sdk:
        return list(sdk.responses.create(model=call.model, input=contract.QUESTION, stream=True))


def embeddings(call):
    with client(call) as sdk:
        return sdk.embeddings.create(model="text-embedding-3-small", input=["one", "two"])


def models(call):
    with client(call) as sdk:
        return [model.id for model in sdk.models.list()]


def upload(call):
    with client(call) as sdk:
        stored = sdk.files.create(file=("lines.jsonl", b'{"line": 1}\n' * 1000), purpose="batch")
        return {"bytes": stored.bytes, "content": sdk.files.content(stored.id).read()}


def environment(call):
    variables = contract.variables(OPENAI_BASE_URL=call.base_url, OPENAI_API_KEY=call.api_key)
    with variables, openai.OpenAI() as sdk:
        return sdk.chat.completions.create(model=call.model, messages=MESSAGES, max_tokens=40)


contract.serve(
    "openai",
    {
        "chat": chat,
        "environment": environment,
        "stream": stream,
        "stream_plain": stream_plain,
        "tools": tools,
        "error_400": chat,
        "error_429": chat,
        "abort": abort,
        "async_stream": async_stream,
        "parsed": parsed,
        "responses": responses,
        "responses_stream": responses_stream,
        "embeddings": embeddings,
        "models": models,
        "upload": upload,
    },
)
