"""Google's google-genai SDK: generate, streams, tools, counting, embeddings; sync and async."""

import asyncio

import contract
from google import genai
from google.genai import types

TOOL = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(
            name=contract.TOOL,
            description=contract.TOOL_DESCRIPTION,
            parameters_json_schema=contract.TOOL_SCHEMA,
        )
    ]
)
FORCED = types.ToolConfig(function_calling_config=types.FunctionCallingConfig(mode="ANY"))
QUIET = types.AutomaticFunctionCallingConfig(disable=True)


def client(call):
    return genai.Client(api_key=call.api_key, http_options=types.HttpOptions(base_url=call.base_url))


def chat(call):
    sdk = client(call)
    return tidy(
        sdk.models.generate_content(
            model=call.model,
            contents=contract.QUESTION,
            config=types.GenerateContentConfig(max_output_tokens=40),
        )
    )


def stream(call):
    sdk = client(call)
    chunks = sdk.models.generate_content_stream(model=call.model, contents=contract.QUESTION)
    return [tidy(chunk) for chunk in chunks]


def tools(call):
    """A call, its result, and the answer to that."""
    sdk = client(call)
    question = types.Content(role="user", parts=[types.Part(text=contract.QUESTION)])
    forced = types.GenerateContentConfig(tools=[TOOL], tool_config=FORCED, automatic_function_calling=QUIET)
    free = types.GenerateContentConfig(tools=[TOOL], automatic_function_calling=QUIET)
    first = sdk.models.generate_content(model=call.model, contents=[question], config=forced)
    done = [
        types.Part(function_response=types.FunctionResponse(id=made.id, name=made.name, response={"asked": made.args}))
        for made in first.function_calls
    ]
    turns = [question, first.candidates[0].content, types.Content(role="user", parts=done)]
    return [tidy(first), tidy(sdk.models.generate_content(model=call.model, contents=turns, config=free))]


def abort(call):
    sdk = client(call)
    chunks = sdk.models.generate_content_stream(model=call.model, contents=contract.QUESTION)
    taken = contract.take(chunks)
    chunks.close()
    sdk.close()
    return len(taken)


def async_stream(call):
    async def run():
        sdk = client(call)
        chunks = await sdk.aio.models.generate_content_stream(model=call.model, contents=contract.QUESTION)
        taken = [tidy(chunk) async for chunk in chunks]
        await sdk.aio.aclose()
        return taken

    return asyncio.run(run())


def count(call):
    sdk = client(call)
    return tidy(sdk.models.count_tokens(model=call.model, contents=contract.QUESTION))


def embeddings(call):
    sdk = client(call)
    return tidy(sdk.models.embed_content(model="gemini-embedding-001", contents=["one", "two"]))


def tidy(answer):
    """Leave out what the SDK says of HTTP: a date, and what is read elsewhere."""
    return answer.model_dump(mode="json", exclude={"sdk_http_response"}, exclude_none=True)


def environment(call):
    with contract.variables(GOOGLE_GEMINI_BASE_URL=call.base_url, GEMINI_API_KEY=call.api_key):
        sdk = genai.Client()
    return tidy(sdk.models.generate_content(model=call.model, contents=contract.QUESTION))


contract.serve(
    "google-genai",
    {
        "chat": chat,
        "environment": environment,
        "stream": stream,
        "tools": tools,
        "error_400": chat,
        "error_429": chat,
        "abort": abort,
        "async_stream": async_stream,
        "count": count,
        "embeddings": embeddings,
    },
)
