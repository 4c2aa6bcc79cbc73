from __future__ import annotations

import msgspec

from proxy.records import Reading
from proxy.wire import read
from tests.wire.exchanges import captured, make_exchange


def test_embeddings_are_read_without_their_vectors() -> None:
    reading = read(captured("openai_embeddings"))
    assert reading.usage is not None
    assert (reading.usage.input_tokens, reading.usage.output_tokens) == (2, None)
    assert msgspec.structs.replace(reading, usage=None, usage_raw=None) == Reading(
        reader="openai_embeddings/1",
        endpoint="embeddings",
        model_requested="text-embedding-3-small",
        model="text-embedding-3-small",
        input_text="a\nb",
    )


def test_no_vector_reaches_a_text_whatever_its_shape() -> None:
    vectors = [{"embedding": [0.25] * 3}, {"embedding": "zczMPQ=="}, {"embedding": {"odd": True}}]
    request = {"model": "m", "input": [[1, 2], [3]]}
    reading = read(make_exchange(request, {"data": vectors, "usage": {"prompt_tokens": 3}}, path="/embeddings"))
    assert (reading.input_text, reading.output_text, reading.problems) == (None, None, ())
