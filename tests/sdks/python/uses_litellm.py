"""LiteLLM's SDK. The wire is chosen by the prefix of the model's name."""

import contract
import litellm

litellm.telemetry = False
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


def ask(call, **more):
    prefix = call.more.get("prefix", "openai")
    more.setdefault("messages", MESSAGES)
    return litellm.completion(
        model=f"{prefix}/{call.model}", api_base=call.base_url, api_key=call.api_key, timeout=60, **more
    )


def chat(call):
    return tidy(ask(call, max_tokens=40))


def stream(call):
    pieces = ask(call, stream=True, max_tokens=200, stream_options={"include_usage": True})
    return [piece.choices[0].delta.content for piece in pieces]


def tools(call):
    """A call, its result, and the answer to that."""
    first = ask(call, tools=TOOLS, tool_choice="required", max_tokens=500)
    wanted = first.choices[0].message
    done = [
        {"role": "tool", "tool_call_id": made.id, "name": made.function.name, "content": "{}"}
        for made in wanted.tool_calls
    ]
    return [tidy(first), tidy(ask(call, messages=[*MESSAGES, wanted, *done], tools=TOOLS, max_tokens=500))]


def abort(call):
    pieces = ask(call, stream=True, max_tokens=400)
    taken = contract.take(pieces)
    pieces.completion_stream.close()
    return len(taken)


def embeddings(call):
    answer = litellm.embedding(
        model="openai/text-embedding-3-small", input=["one", "two"], api_base=call.base_url, api_key=call.api_key
    )
    return [entry["embedding"][:3] for entry in answer.data]


def tidy(answer):
    """Leave out the time of the answer, which LiteLLM takes from its own clock."""
    whole = answer.model_dump(mode="json")
    return {name: whole[name] for name in ("choices", "usage", "model")}


def environment(call):
    with contract.variables(OPENAI_BASE_URL=call.base_url, OPENAI_API_KEY=call.api_key):
        return tidy(litellm.completion(model=f"openai/{call.model}", messages=MESSAGES))


contract.serve(
    "litellm",
    {
        "chat": chat,
        "environment": environment,
        "stream": stream,
        "tools": tools,
        "error_400": chat,
        "error_429": chat,
        "abort": abort,
        "embeddings": embeddings,
    },
)
