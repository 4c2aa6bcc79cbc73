"""Instructor: typed answers on top of the OpenAI SDK."""

import contract
import instructor
import openai
from pydantic import BaseModel


class Place(BaseModel):
    city: str


MESSAGES = [{"role": "user", "content": contract.QUESTION}]


def client(call, mode=instructor.Mode.TOOLS):
    return instructor.from_openai(openai.OpenAI(base_url=call.base_url, api_key=call.api_key), mode=mode)


def chat(call):
    return client(call).chat.completions.create(
        model=call.model, messages=MESSAGES, response_model=Place, max_retries=1
    )


def parsed(call):
    return client(call, instructor.Mode.JSON_SCHEMA).chat.completions.create(
        model=call.model, messages=MESSAGES, response_model=Place, max_retries=1
    )


def stream(call):
    """The answer as it grows."""
    pieces = client(call).chat.completions.create_partial(
        model=call.model,
        messages=MESSAGES,
        response_model=Place,
        max_retries=1,
        stream_options={"include_usage": True},
    )
    return [piece.city for piece in pieces]


contract.serve(
    "instructor",
    {"chat": chat, "parsed": parsed, "stream": stream, "error_400": chat, "error_429": chat},
)
