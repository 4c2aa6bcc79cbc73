"""Groq's SDK, which adds /openai/v1 to its base URL itself."""

import contract
import groq

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
    return groq.Groq(base_url=call.base_url, api_key=call.api_key)


def chat(call):
    with client(call) as sdk:
        return sdk.chat.completions.create(model=call.model, messages=MESSAGES, max_tokens=40)


def stream(call):
    with client(call) as sdk:
        return list(sdk.chat.completions.create(model=call.model, messages=MESSAGES, stream=True))


def tools(call):
    """A call, its result, and the answer to that."""
    with client(call) as sdk:
        first = sdk.chat.completions.create(model=call.model, messages=MESSAGES, tools=TOOLS, tool_choice="required")
        wanted = first.choices[0].message
        made = [entry.model_dump(mode="json") for entry in wanted.tool_calls]
        done = [{"role": "tool", "tool_call_id": entry["id"], "content": "{}"} for entry in made]
        turns = [*MESSAGES, {"role": "assistant", "content": None, "tool_calls": made}, *done]
        return [first, sdk.chat.completions.create(model=call.model, messages=turns, tools=TOOLS)]


def abort(call):
    with client(call) as sdk:
        chunks = sdk.chat.completions.create(model=call.model, messages=MESSAGES, stream=True)
        taken = contract.take(chunks)
        chunks.close()
        return len(taken)


def environment(call):
    variables = contract.variables(GROQ_BASE_URL=call.base_url, GROQ_API_KEY=call.api_key)
    with variables, groq.Groq() as sdk:
        return sdk.chat.completions.create(model=call.model, messages=MESSAGES, max_tokens=40)


contract.serve(
    "groq",
    {
        "chat": chat,
        "environment": environment,
        "stream": stream,
        "tools": tools,
        "error_400": chat,
        "error_429": chat,
        "abort": abort,
    },
)
