"""OpenAI's Agents SDK: it speaks the Responses API."""

import asyncio

import contract
from agents import Agent, OpenAIResponsesModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI

set_tracing_disabled(True)


@function_tool
def get_weather(city: str) -> str:
    """Weather at a place"""
    return f"Rain in {city}"


def agent(call, **options):
    client = AsyncOpenAI(base_url=call.base_url, api_key=call.api_key)
    return Agent(name="helper", model=OpenAIResponsesModel(call.model, client), **options)


def chat(call):
    answer = Runner.run_sync(agent(call), contract.QUESTION)
    return {"output": answer.final_output, "usage": usage(answer)}


def stream(call):
    async def run():
        answer = Runner.run_streamed(agent(call), contract.QUESTION)
        kinds = [event.type async for event in answer.stream_events()]
        return {"events": len(kinds), "output": answer.final_output}

    return asyncio.run(run())


def tools(call):
    """The agent runs the tool and asks again by itself."""
    answer = Runner.run_sync(agent(call, tools=[get_weather]), contract.QUESTION)
    return {"output": answer.final_output, "items": [item.type for item in answer.new_items], "usage": usage(answer)}


def abort(call):
    async def run():
        answer = Runner.run_streamed(agent(call), contract.QUESTION)
        count = 0
        async for event in answer.stream_events():
            count += event.type == "raw_response_event"
            if count == contract.ABORT_AFTER:
                answer.cancel()
                break
        await asyncio.sleep(0)
        return count

    return asyncio.run(run())


def usage(answer):
    spent = answer.context_wrapper.usage
    return [spent.requests, spent.input_tokens, spent.output_tokens]


def environment(call):
    with contract.variables(OPENAI_BASE_URL=call.base_url, OPENAI_API_KEY=call.api_key):
        return Runner.run_sync(Agent(name="helper", model=call.model), contract.QUESTION).final_output


contract.serve(
    "openai-agents",
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
