"""Ollama's SDK: its native API of JSON lines."""

import contract
import ollama

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
    return ollama.Client(host=call.base_url, headers={"authorization": f"Bearer {call.api_key}"})


def chat(call):
    return client(call).chat(model=call.model, messages=MESSAGES, options={"num_predict": 40})


def stream(call):
    return list(client(call).chat(model=call.model, messages=MESSAGES, stream=True))


def tools(call):
    """A call, its result, and the answer to that."""
    sdk = client(call)
    first = sdk.chat(model=call.model, messages=MESSAGES, tools=TOOLS)
    done = [
        {"role": "tool", "tool_name": made.function.name, "content": "{}"} for made in first.message.tool_calls or ()
    ]
    return [first, sdk.chat(model=call.model, messages=[*MESSAGES, first.message, *done], tools=TOOLS)]


def generate(call):
    return client(call).generate(model=call.model, prompt=contract.QUESTION, options={"num_predict": 40})


def abort(call):
    pieces = client(call).chat(model=call.model, messages=MESSAGES, stream=True)
    taken = contract.take(pieces)
    pieces.close()
    return len(taken)


def embeddings(call):
    return client(call).embed(model="nomic-embed-text", input=["one", "two"])


def environment(call):
    with contract.variables(OLLAMA_HOST=call.base_url):
        sdk = ollama.Client(headers={"authorization": f"Bearer {call.api_key}"})
    return sdk.chat(model=call.model, messages=MESSAGES)


contract.serve(
    "ollama",
    {
        "chat": chat,
        "environment": environment,
        "stream": stream,
        "tools": tools,
        "generate": generate,
        "error_400": chat,
        "error_429": chat,
        "abort": abort,
        "embeddings": embeddings,
    },
)
