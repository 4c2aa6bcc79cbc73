"""The official OpenAI SDK's client for Azure, which puts the deployment into the path."""

import contract
import openai

MESSAGES = [{"role": "user", "content": contract.QUESTION}]
VERSION = "2024-10-21"


def client(call):
    return openai.AzureOpenAI(azure_endpoint=call.base_url, api_key=call.api_key, api_version=VERSION)


def chat(call):
    with client(call) as sdk:
        return sdk.chat.completions.create(model=call.model, messages=MESSAGES, max_tokens=40)


def stream(call):
    options = {"include_usage": True}
    with client(call) as sdk:
        chunks = sdk.chat.completions.create(model=call.model, messages=MESSAGES, stream=True, stream_options=options)
        return list(chunks)


def environment(call):
    variables = contract.variables(
        AZURE_OPENAI_ENDPOINT=call.base_url, AZURE_OPENAI_API_KEY=call.api_key, OPENAI_API_VERSION=VERSION
    )
    with variables, openai.AzureOpenAI() as sdk:
        return sdk.chat.completions.create(model=call.model, messages=MESSAGES, max_tokens=40)


def v1(call):
    """The other family of paths: no version in the query, the plain client."""
    with openai.OpenAI(base_url=f"{call.base_url}/openai/v1", api_key=call.api_key) as sdk:
        return sdk.chat.completions.create(model=call.model, messages=MESSAGES, max_tokens=40)


def abort(call):
    with client(call) as sdk:
        chunks = sdk.chat.completions.create(model=call.model, messages=MESSAGES, stream=True)
        taken = contract.take(chunks)
        chunks.close()
        return len(taken)


contract.serve(
    "openai",
    {
        "chat": chat,
        "environment": environment,
        "v1": v1,
        "stream": stream,
        "error_400": chat,
        "error_429": chat,
        "abort": abort,
    },
)
