"""Amazon's boto3, which signs its requests: Glassline's key is its access key id, and the secret may be anything.

Bedrock's own API keys go with https alone: to an http URL boto3 refuses to send them.
"""

import boto3
import contract

MESSAGES = [{"role": "user", "content": [{"text": contract.QUESTION}]}]
TOOL = {
    "toolSpec": {
        "name": contract.TOOL,
        "description": contract.TOOL_DESCRIPTION,
        "inputSchema": {"json": contract.TOOL_SCHEMA},
    }
}


def client(call):
    return boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=call.base_url,
        aws_access_key_id=call.api_key,
        aws_secret_access_key="anything",
    )


def chat(call):
    return tidy(client(call).converse(modelId=call.model, messages=MESSAGES, inferenceConfig={"maxTokens": 40}))


def environment(call):
    with contract.variables(
        AWS_ENDPOINT_URL_BEDROCK_RUNTIME=call.base_url,
        AWS_ACCESS_KEY_ID=call.api_key,
        AWS_SECRET_ACCESS_KEY="anything",
        AWS_DEFAULT_REGION="us-east-1",
    ):
        return tidy(boto3.client("bedrock-runtime").converse(modelId=call.model, messages=MESSAGES))


def stream(call):
    return list(client(call).converse_stream(modelId=call.model, messages=MESSAGES)["stream"])


def tools(call):
    """A call, its result, and the answer to that."""
    sdk = client(call)
    forced = {"tools": [TOOL], "toolChoice": {"any": {}}}
    first = sdk.converse(modelId=call.model, messages=MESSAGES, toolConfig=forced)
    said = first["output"]["message"]
    done = [
        {"toolResult": {"toolUseId": part["toolUse"]["toolUseId"], "content": [{"text": "Rain"}]}}
        for part in said["content"]
        if "toolUse" in part
    ]
    turns = [*MESSAGES, said, {"role": "user", "content": done}]
    return [tidy(first), tidy(sdk.converse(modelId=call.model, messages=turns, toolConfig={"tools": [TOOL]}))]


def abort(call):
    events = client(call).converse_stream(modelId=call.model, messages=MESSAGES)["stream"]
    taken = contract.take(events)
    events.close()
    return len(taken)


def tidy(answer):
    """Leave out what the SDK says of HTTP, and how long the provider took."""
    return {name: part for name, part in answer.items() if name not in ("ResponseMetadata", "metrics")}


contract.serve(
    "boto3",
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
