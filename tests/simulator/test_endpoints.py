"""Every endpoint, through the real SDK: what it parses is what the simulator meant, and the truth log says what it cost."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from typing import Any, TypeVar

import httpx
import openai
import pytest

from tests.harness import Simulator

T = TypeVar("T")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
"""The SDK warns of operations that OpenAI is about to end; they are still asked for."""
WAV = b"RIFF" + struct.pack("<I4s4sIHHIIHH4sI", 36, b"WAVE", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16, b"data", 0)
"""The head of two bytes per sample, 8,000 of them a second: 16,000 bytes are a second."""


def sound(seconds: int) -> tuple[str, bytes]:
    return "a.wav", WAV + b"\0" * 16_000 * seconds


def last_usage(provider: Simulator, path: str) -> dict[str, Any]:
    """Return what the provider billed for the last request to a path."""
    lines = [line for line in provider.done() if line["path"].startswith(path)]
    usage: dict[str, Any] = lines[-1]["usage"]
    return usage


def look_until(look: Callable[[], T], is_done: Callable[[T], bool]) -> list[T]:
    """Return everything seen until it is done; each look moves the provider on, so no time has to pass."""
    seen = [look()]
    while not is_done(seen[-1]):
        assert len(seen) < 10
        seen.append(look())
    return seen


def test_pictures_are_real_and_their_tokens_follow_from_size_and_quality(
    provider: Simulator, client: openai.OpenAI
) -> None:
    made = client.images.generate(model="gpt-image-1", prompt="a cat", size="1536x1024", quality="low", n=2)
    assert made.data is not None
    assert made.usage is not None
    assert [len(picture.b64_json or "") > 100 for picture in made.data] == [True, True]
    assert (made.usage.output_tokens, made.quality) == (2 * 408, "low")
    assert last_usage(provider, "/v1/images/generations")["output_image_tokens"] == 816
    piece = client.images.generate(model="dall-e-3", prompt="a cat")
    assert piece.usage is None
    assert last_usage(provider, "/v1/images/generations")["images"] == 1


def test_an_edit_takes_several_pictures(provider: Simulator, client: openai.OpenAI) -> None:
    pictures = [("a.png", b"\x89PNG\r\n--x"), ("b.png", b"\x89PNG")]
    made = client.images.edit(model="gpt-image-1", image=pictures, prompt="join them")
    assert made.usage is not None
    assert made.usage.input_tokens_details.image_tokens == 646
    assert last_usage(provider, "/v1/images/edits")["input_image_tokens"] == 646
    assert client.images.create_variation(image=("a.png", b"\x89PNG"), n=2).data


def test_a_picture_streams_its_drafts(provider: Simulator, client: openai.OpenAI) -> None:
    stream = client.images.generate(model="gpt-image-1", prompt="x", stream=True, partial_images=2, quality="low")
    events = list(stream)
    assert [event.type.rpartition(".")[2] for event in events] == ["partial_image", "partial_image", "completed"]
    last = events[-1]
    assert last.type == "image_generation.completed"
    assert last.usage.output_tokens == 272 + 200
    assert last_usage(provider, "/v1/images/generations")["output_tokens"] == 472


def test_speech_comes_in_pieces_or_in_events(provider: Simulator, client: openai.OpenAI) -> None:
    spoken = client.audio.speech.create(model="tts-1", voice="alloy", input="Hello, world")
    assert (len(spoken.content), spoken.response.headers["content-type"]) == (2 * 2048, "audio/mpeg")
    assert last_usage(provider, "/v1/audio/speech")["characters"] == 12
    events = client.audio.speech.create(model="gpt-4o-mini-tts", voice="alloy", input="Hi", stream_format="sse")
    done = json.loads(events.content.split(b"data: ")[-1])
    assert (done["type"], done["usage"]["output_tokens"]) == ("speech.audio.done", 5)
    assert last_usage(provider, "/v1/audio/speech")["output_audio_tokens"] == 5


def test_listening_is_billed_by_tokens_or_by_seconds(provider: Simulator, client: openai.OpenAI) -> None:
    heard = client.audio.transcriptions.create(model="gpt-4o-transcribe", file=sound(3))
    assert heard.usage is not None
    assert heard.usage.type == "tokens"
    assert (heard.usage.input_tokens, bool(heard.text)) == (30, True)
    verbose = client.audio.transcriptions.create(model="whisper-1", file=sound(3), response_format="verbose_json")
    assert (verbose.duration, verbose.usage and verbose.usage.seconds) == (3.0, 3)
    assert last_usage(provider, "/v1/audio/transcriptions")["seconds"] == 3
    subtitles = client.audio.transcriptions.create(model="whisper-1", file=sound(3), response_format="srt")
    assert "00:00:00,000 --> 00:00:03,000" in subtitles
    assert client.audio.translations.create(model="whisper-1", file=sound(1)).text


def test_a_transcription_streams(client: openai.OpenAI) -> None:
    events = list(client.audio.transcriptions.create(model="gpt-4o-transcribe", file=sound(2), stream=True))
    last = events[-1]
    assert last.type == "transcript.text.done"
    assert last.text == "".join(event.delta for event in events if event.type == "transcript.text.delta")
    assert last.usage is not None
    assert last.usage.output_tokens == len(events) - 1


def test_work_in_the_background_is_done_after_a_few_looks_and_billed_once(
    provider: Simulator, client: openai.OpenAI
) -> None:
    begun = client.responses.create(model="gpt-5", input="Background?", background=True)
    assert (begun.status, begun.usage) == ("queued", None)
    assert last_usage(provider, "/v1/responses") is None
    seen = look_until(lambda: client.responses.retrieve(begun.id), lambda response: response.status == "completed")
    assert [response.status for response in seen] == ["queued", "in_progress", "completed"]
    assert seen[-1].usage is not None
    assert last_usage(provider, f"/v1/responses/{begun.id}")["output_tokens"] == seen[-1].usage.output_tokens
    client.responses.retrieve(begun.id)
    assert last_usage(provider, f"/v1/responses/{begun.id}") is None


def test_a_background_response_can_be_cancelled_and_forgotten(client: openai.OpenAI) -> None:
    begun = client.responses.create(model="gpt-5", input="Cancel me", background=True)
    assert client.responses.cancel(begun.id).status == "cancelled"
    client.responses.delete(begun.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(begun.id)


def test_a_stored_response_streams_again_from_where_it_was_left(client: openai.OpenAI) -> None:
    events = list(client.responses.create(model="gpt-4o", input="Resume", stream=True))
    first = events[0]
    assert first.type == "response.created"
    resumed = list(client.responses.retrieve(first.response.id, stream=True, starting_after=3))
    assert [event.sequence_number for event in resumed] == list(range(4, len(events)))
    assert resumed[-1].type == "response.completed"
    assert client.responses.input_items.list(first.response.id).data


def test_two_equal_requests_make_two_responses(client: openai.OpenAI) -> None:
    first, second = (client.responses.create(model="gpt-4o", input="Twice") for _ in range(2))
    assert first.id != second.id
    assert first.output_text == second.output_text


def test_input_is_counted_and_conversations_are_compacted(provider: Simulator, client: openai.OpenAI) -> None:
    counted = client.responses.input_tokens.count(model="gpt-5", input="How long is this?")
    assert counted.input_tokens > 3
    compacted = client.responses.compact(model="gpt-5", input="A long conversation")
    assert compacted.usage.output_tokens == last_usage(provider, "/v1/responses/compact")["output_tokens"]


def test_a_stored_chat_completion_shows_what_was_said(client: openai.OpenAI) -> None:
    asked: Any = [{"role": "user", "content": "Keep this"}]
    made = client.chat.completions.create(model="gpt-4o", messages=asked, store=True)
    assert client.chat.completions.retrieve(made.id).choices == made.choices
    assert [said.content for said in client.chat.completions.messages.list(made.id)] == ["Keep this"]
    assert client.chat.completions.update(made.id, metadata={"a": "b"}).id == made.id
    assert client.chat.completions.delete(made.id).deleted


def test_a_batch_answers_every_line_and_says_the_sum(provider: Simulator, client: openai.OpenAI) -> None:
    requests = [
        {"custom_id": str(n), "method": "POST", "url": "/v1/chat/completions",
         "body": {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": f"Line {n}"}]}}
        for n in range(3)
    ]  # fmt: skip
    requests.append({"custom_id": "bad", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gpt-4o"}})
    lines = "\n".join(map(json.dumps, requests)).encode()
    file = client.files.create(file=("in.jsonl", lines), purpose="batch")
    begun = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    done = look_until(lambda: client.batches.retrieve(begun.id), lambda batch: batch.status == "completed")[-1]
    assert done.request_counts is not None
    assert (done.request_counts.completed, done.request_counts.failed) == (3, 1)
    answers = [json.loads(line) for line in client.files.content(done.output_file_id or "").text.splitlines()]
    assert [answer["custom_id"] for answer in answers] == ["0", "1", "2"]
    spent = sum(answer["response"]["body"]["usage"]["completion_tokens"] for answer in answers)
    assert done.usage is not None
    assert done.usage.output_tokens == spent == last_usage(provider, f"/v1/batches/{begun.id}")["output_tokens"]
    assert client.files.content(done.error_file_id or "").text.count("\n") == 1


def test_an_upload_in_parts_becomes_a_file(client: openai.OpenAI) -> None:
    upload = client.uploads.create(bytes=6, filename="a.bin", mime_type="application/octet-stream", purpose="batch")
    parts = [client.uploads.parts.create(upload.id, data=io.BytesIO(data)).id for data in (b"abc", b"d\r\n")]
    completed = client.uploads.complete(upload.id, part_ids=parts)
    assert completed.file is not None
    assert client.files.content(completed.file.id).content == b"abcd\r\n"


def test_a_video_is_billed_when_it_is_done(provider: Simulator, client: openai.OpenAI) -> None:
    begun = client.videos.create(model="sora-2", prompt="waves", seconds="8", size="1280x720")
    done = look_until(lambda: client.videos.retrieve(begun.id), lambda video: video.status == "completed")[-1]
    assert client.videos.download_content(begun.id).content
    assert (begun.status, done.seconds, done.size) == ("queued", "8", "1280x720")
    assert last_usage(provider, f"/v1/videos/{begun.id}") is None
    billed = [line["usage"] for line in provider.done() if line["path"] == f"/v1/videos/{begun.id}"]
    assert [usage["video_seconds"] for usage in billed if usage] == [8]


def test_moderations_flag_what_is_alarming(client: openai.OpenAI) -> None:
    judged = client.moderations.create(input=["flowers", "I will kill you"])
    assert [result.flagged for result in judged.results] == [False, True]


def test_an_assistant_answers_in_its_thread(provider: Simulator, client: openai.OpenAI) -> None:
    beta = client.beta
    assistant = beta.assistants.create(model="gpt-4o")
    thread = beta.threads.create(messages=[{"role": "user", "content": "Hello"}])
    run = beta.threads.runs.create(thread.id, assistant_id=assistant.id)
    done = look_until(
        lambda: beta.threads.runs.retrieve(run.id, thread_id=thread.id), lambda run: run.status == "completed"
    )[-1]
    with beta.threads.runs.stream(thread_id=thread.id, assistant_id=assistant.id) as stream:
        streamed = [event.event for event in stream]
    assert done.usage is not None
    assert done.usage.completion_tokens == last_usage(provider, f"/v1/threads/{thread.id}/runs/")["output_tokens"]
    assert streamed[0] == "thread.run.created"
    assert streamed[-1] == "thread.run.completed"


def test_jobs_move_on_each_time_somebody_looks(client: openai.OpenAI) -> None:
    job = client.fine_tuning.jobs.create(model="gpt-4o-mini", training_file="file-x")
    seen = look_until(lambda: client.fine_tuning.jobs.retrieve(job.id), lambda job: job.status == "succeeded")
    assert [each.status for each in seen] == ["queued", "running", "succeeded"]
    assert seen[-1].fine_tuned_model


def test_what_is_kept_can_be_found_changed_and_deleted(client: openai.OpenAI) -> None:
    store = client.vector_stores.create(name="papers")
    assert client.vector_stores.update(store.id, name="books").name == "books"
    assert client.vector_stores.search(store.id, query="x").data[0].score > 0
    assert store.id in [each.id for each in client.vector_stores.list()]
    assert client.vector_stores.delete(store.id).deleted
    container = client.containers.create(name="box")
    assert client.containers.retrieve(container.id).status == "running"
    conversation = client.conversations.create(metadata={"a": "b"})
    client.conversations.items.create(conversation.id, items=[{"type": "message", "role": "user", "content": "Hi"}])
    assert client.conversations.items.list(conversation.id).data
    assert client.realtime.client_secrets.create().value.startswith("ek_")


def test_azure_names_deployments_and_speaks_of_filters(provider: Simulator) -> None:
    with openai.AzureOpenAI(
        azure_endpoint=provider.url.removesuffix("/v1"), api_key="azure-key", api_version="2025-04-01-preview"
    ) as client:
        messages: Any = [{"role": "user", "content": "Hello"}]
        raw = client.chat.completions.with_raw_response.create(model="our-chat", messages=messages)
        assert raw.headers["x-ms-region"] == "Sweden Central"
        assert raw.parse().model == "gpt-4o-mini-2024-07-18"
        assert b"content_filter_results" in raw.content
        chunks = list(client.chat.completions.create(model="our-chat", messages=messages, stream=True))
        assert (chunks[0].choices, chunks[-1].choices[0].finish_reason) == ([], "stop")
        stored = client.get("/deployments/our-chat/chat/completions", cast_to=httpx.Response)
        assert stored.json()["data"] == []
        assert "prompt_filter_results" in (chunks[0].model_extra or {})
        assert client.embeddings.create(model="text-embedding-3-small", input="x").data
        heard = client.audio.transcriptions.create(model="whisper-1", file=sound(1))
        assert heard.text
        assert client.responses.create(model="gpt-4o", input="Hi").output_text
        blocked = {"x-simulate": "status=400; code=content_filter"}
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(model="our-chat", messages=messages, extra_headers=blocked)
        assert caught.value.code == "content_filter"


@pytest.mark.parametrize(
    "credential",
    [{"authorization": "Bearer k-1"}, {"x-api-key": "k-1"}, {"api-key": "k-1"}, {"x-goog-api-key": "k-1"}],
)
def test_a_key_is_taken_wherever_a_dialect_puts_it(
    start_simulator: Callable[..., Simulator], credential: dict[str, str]
) -> None:
    provider = start_simulator("--require-key", "k-1")
    assert httpx.get(f"{provider.url}/models", headers=credential).status_code == 200
    assert httpx.get(f"{provider.url}/models?key=k-1").status_code == 200
    assert httpx.get(f"{provider.url}/models", headers={"x-api-key": "k-2"}).status_code == 401
    assert "k-1" not in json.dumps([line["path"] for line in provider.truth()])


@pytest.mark.parametrize("wish", ["error=1", "cut=1"])
def test_a_stream_of_pictures_or_words_can_fail_in_the_middle(client: openai.OpenAI, wish: str) -> None:
    failing = client.with_options(default_headers={"x-simulate": wish})
    pictures = failing.images.generate(model="gpt-image-1", prompt="x", stream=True, partial_images=3)
    with pytest.raises(openai.OpenAIError):
        list(pictures)
    words = failing.audio.transcriptions.create(model="gpt-4o-transcribe", file=sound(3), stream=True)
    with pytest.raises(openai.OpenAIError):
        list(words)


@pytest.mark.parametrize("wish", ["status=429", "error=0"])
def test_every_endpoint_can_refuse(client: openai.OpenAI, wish: str) -> None:
    refusing = client.with_options(default_headers={"x-simulate": wish})
    expected = openai.RateLimitError if wish == "status=429" else openai.InternalServerError
    for ask in (
        lambda: refusing.images.generate(model="gpt-image-1", prompt="x"),
        lambda: refusing.embeddings.create(model="text-embedding-3-small", input="x"),
        lambda: refusing.batches.list(),
        lambda: refusing.audio.transcriptions.create(model="whisper-1", file=sound(1)),
    ):
        with pytest.raises(expected):
            ask()
