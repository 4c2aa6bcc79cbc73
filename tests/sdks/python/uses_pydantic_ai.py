"""Pydantic AI: an agent with a tool, a typed answer, a stream."""

import asyncio

import contract
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider


class Place(BaseModel):
    city: str


def agent(call, **options):
    model = OpenAIChatModel(call.model, provider=OpenAIProvider(base_url=call.base_url, api_key=call.api_key))
    return Agent(model, **options)


def chat(call):
    answer = agent(call).run_sync(contract.QUESTION)
    return {"output": answer.output, "usage": answer.usage}


def stream(call):
    async def run():
        async with agent(call).run_stream(contract.QUESTION) as answer:
            pieces = [piece async for piece in answer.stream_text(delta=True, debounce_by=None)]
            return {"pieces": pieces, "usage": answer.usage}

    return asyncio.run(run())


def tools(call):
    """The agent runs the tool and asks again by itself."""
    asked = agent(call)

    @asked.tool_plain
    def get_weather(city: str) -> str:
        """Weather at a place"""
        return f"Rain in {city}"

    answer = asked.run_sync(contract.QUESTION)
    return {"output": answer.output, "usage": answer.usage}


def parsed(call):
    """An answer that fits a type, which the agent asks for as a tool call."""
    return agent(call, output_type=Place).run_sync(contract.QUESTION).output


def abort(call):
    async def run():
        count = 0
        async with agent(call).run_stream(contract.QUESTION) as answer:
            async for _ in answer.stream_text(delta=True, debounce_by=None):
                count += 1
                if count == contract.ABORT_AFTER:
                    break
            await answer.cancel() if hasattr(answer, "cancel") else None
        return count

    return asyncio.run(run())


def environment(call):
    with contract.variables(OPENAI_BASE_URL=call.base_url, OPENAI_API_KEY=call.api_key):
        return Agent(f"openai-chat:{call.model}").run_sync(contract.QUESTION).output


contract.serve(
    "pydantic-ai-slim",
    {
        "chat": chat,
        "environment": environment,
        "stream": stream,
        "tools": tools,
        "parsed": parsed,
        "error_400": chat,
        "error_429": chat,
        "abort": abort,
    },
)
