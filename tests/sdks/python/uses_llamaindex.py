"""LlamaIndex with its OpenAI language model and embeddings."""

import asyncio

import contract
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.llms.openai import OpenAI


def get_weather(city: str) -> str:
    return f"Rain in {city}"


TOOL = FunctionTool.from_defaults(get_weather, name=contract.TOOL, description=contract.TOOL_DESCRIPTION)
MESSAGES = [ChatMessage(role="user", content=contract.QUESTION)]


def model(call):
    return OpenAI(model=call.model, api_base=call.base_url, api_key=call.api_key, max_retries=2)


def chat(call):
    answer = model(call).chat(MESSAGES)
    return {"text": answer.message.content, "raw": answer.raw}


def stream(call):
    return [piece.delta for piece in model(call).stream_chat(MESSAGES)]


def tools(call):
    """A call, its result, and the answer to that."""
    sdk = model(call)
    first = sdk.chat_with_tools([TOOL], chat_history=MESSAGES, tool_required=True)
    made = sdk.get_tool_calls_from_response(first)
    done = [
        ChatMessage(
            role="tool",
            content=str(TOOL.call(**entry.tool_kwargs)),
            additional_kwargs={"tool_call_id": entry.tool_id},
        )
        for entry in made
    ]
    second = sdk.chat_with_tools([TOOL], chat_history=[*MESSAGES, first.message, *done])
    return [[[entry.tool_name, entry.tool_kwargs] for entry in made], second.message.content]


def abort(call):
    """Only its asynchronous stream can be left: closing the other one lets the provider write on."""

    async def run():
        count = 0
        async for _ in await model(call).astream_chat(MESSAGES):
            count += 1
            if count == contract.ABORT_AFTER:
                break
        return count

    return asyncio.run(run())


def embeddings(call):
    sdk = OpenAIEmbedding(model_name="text-embedding-3-small", api_base=call.base_url, api_key=call.api_key)
    return sdk.get_text_embedding_batch(["one", "two"])


def environment(call):
    with contract.variables(OPENAI_API_BASE=call.base_url, OPENAI_API_KEY=call.api_key):
        return OpenAI(model=call.model).chat(MESSAGES).message.content


contract.serve(
    "llama-index-llms-openai",
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
