from __future__ import annotations

import msgspec

from proxy.records import Reading
from proxy.wire import read
from tests.wire.exchanges import DONE, captured, make_exchange, sse


def test_a_completion_is_read_whole() -> None:
    reading = read(captured("openai_completions"))
    assert reading.usage is not None
    assert (reading.usage.input_tokens, reading.usage.output_tokens) == (2, 2)
    assert msgspec.structs.replace(reading, usage=None, usage_raw=None) == Reading(
        reader="openai_completions/1",
        endpoint="completions",
        model_requested="gpt-3.5-turbo-instruct",
        model="gpt-3.5-turbo-instruct:20230824-v2",
        finish_reasons=("length",),
        response_id="cmpl-A4",
        input_text="Say x",
        output_text="\n\nx",
        user="u1",
    )


def test_a_stream_is_read_by_index_and_its_usage_last() -> None:
    def chunk(text: str, index: int, reason: str | None = None) -> dict[str, object]:
        return {"id": "c", "model": "m", "choices": [{"text": text, "index": index, "finish_reason": reason}]}

    usage = {"choices": [], "usage": {"prompt_tokens": 2, "completion_tokens": 3}}
    first = sse(chunk("", 0)) + sse(chunk("a", 1))
    body = first + sse(chunk("b", 0, "stop"), chunk("c", 1), usage)
    reading = read(make_exchange({"stream": True, "prompt": ["p", "q", [1, 2]]}, body, path="/completions"))
    assert (reading.output_text, reading.finish_reasons) == ("b\nac", ("stop", None))
    assert (reading.first_token_offset, reading.has_ended, reading.input_text) == (len(first), False, "p\nq")
    assert reading.usage is not None
    ended = read(make_exchange({"stream": True}, body + DONE, path="/completions"))
    assert ended.has_ended is True


def test_a_stream_without_done_has_ended_when_every_prompt_has_its_choices() -> None:
    body = sse({"choices": [{"text": "a", "index": 0, "finish_reason": "stop"}]})
    one = read(make_exchange({"stream": True, "prompt": "p"}, body, path="/completions"))
    two = read(make_exchange({"stream": True, "prompt": ["p", "q"]}, body, path="/completions"))
    token_ids = read(make_exchange({"stream": True, "prompt": [1, 2, 3]}, body, path="/completions"))
    assert (one.has_ended, two.has_ended, token_ids.has_ended) == (True, False, True)
