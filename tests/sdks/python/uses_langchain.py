"""What LangChain does, whichever chat model it is given."""

import contract
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool


@tool(contract.TOOL)
def get_weather(city: str) -> str:
    """Weather at a place"""
    return f"Rain in {city}"


def tidy(message):
    """Return a message without what LangChain invents: a run id."""
    return {
        "content": message.content,
        "tool_calls": getattr(message, "tool_calls", None),
        "usage": message.usage_metadata,
        "finish": {
            name: message.response_metadata.get(name) for name in ("finish_reason", "stop_reason", "model_name")
        },
    }


def scenarios(chat_model):
    """Return the scenarios of a provider: `chat_model` makes a model of its from a call."""

    def chat(call):
        return tidy(chat_model(call).invoke(contract.QUESTION))

    def stream(call):
        return [tidy(piece) for piece in chat_model(call).stream(contract.QUESTION)]

    def tools(call):
        model = chat_model(call).bind_tools([get_weather])
        turns = [HumanMessage(contract.QUESTION)]
        first = model.invoke(turns)
        done = [
            ToolMessage(get_weather.invoke(made["args"]), tool_call_id=made["id"], name=made["name"])
            for made in first.tool_calls
        ]
        return [tidy(first), tidy(model.invoke([*turns, first, *done]))]

    def abort(call):
        pieces = chat_model(call).stream(contract.QUESTION)
        taken = contract.take(pieces)
        pieces.close()
        return len(taken)

    return {
        "chat": chat,
        "stream": stream,
        "tools": tools,
        "error_400": chat,
        "error_429": chat,
        "abort": abort,
    }
