"""Every endpoint of the real SDK through Glassline: bytes equal at both ends, usage as the provider billed it, cost once."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx
import openai
import pytest

from tests.harness import Glassline, Simulator
from tests.harness.process import wait_until
from tests.harness.stage import with_upstream

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
WAV = b"RIFF" + struct.pack("<I4s4sIHHIIHH4sI", 36, b"WAVE", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16, b"data", 0)
SOUND = ("a.wav", WAV + bytes(48_000))
"""Three seconds."""
PNG = ("a.png", b"\x89PNG\r\n\x1a\n" + bytes(2000))


@dataclass(frozen=True)
class Call:
    """What came of one call of the SDK."""

    answer: Any
    rows: list[dict[str, Any]]
    """Records, in order."""
    told: list[dict[str, Any]]
    """The provider's account of the same requests."""

    @property
    def row(self) -> dict[str, Any]:
        """The only record."""
        (row,) = self.rows
        return row

    @property
    def usage(self) -> dict[str, Any]:
        """The provider's own usage object, as it was recorded."""
        usage: dict[str, Any] = json.loads(self.row["usage"])
        return usage


class Stage:
    """A Glassline in front of a simulated provider, and an SDK client."""

    def __init__(self, glassline: Glassline, simulator: Simulator) -> None:
        self.glassline = glassline
        self.simulator = simulator
        self._client = openai.OpenAI(base_url=f"{glassline.url}/v1", api_key="sk-app-0123456789abcdef", max_retries=0)
        self._count = 0

    def call(self, run: Callable[[openai.OpenAI], Any]) -> Call:
        """Run something with the SDK; check that every body was recorded as the provider saw it."""
        self._count += 1
        mark = f"call-{self._count}"
        headers = {"x-mark": mark, "x-glassline-session": mark}
        answer = run(self._client.with_options(default_headers=headers))
        told = wait_until(lambda: self.told(mark), f"the provider's account of {mark}")
        rows = self.glassline.wait_for_rows(len(told), f"session = '{mark}'")
        rows.sort(key=lambda row: row["id"])
        assert len(rows) == len(told)
        for row, done in zip(rows, told, strict=True):
            assert (row["status"], row["outcome"]) == (done["status"], "completed")
            assert (row["request_bytes"], row["response_bytes"]) == (done["request_bytes"], done["response_bytes"])
            assert row["path"].partition("?")[0] == done["path"].removeprefix("/v1").partition("?")[0]
            for side in ("request", "response"):
                if row[f"{side}_bytes"]:
                    assert self._sha256(row["id"], side) == done[f"{side}_sha256"], (row["path"], side)
        return Call(answer, rows, told)

    def _sha256(self, id_: str, side: str) -> str:
        response = httpx.get(f"{self.glassline.admin_url}/api/requests/{id_}/{side}_body")
        assert response.status_code == 200, response.text
        return hashlib.sha256(response.content).hexdigest()

    def close(self) -> None:
        """Close the client."""
        self._client.close()

    def told(self, mark: str) -> list[dict[str, Any]] | None:
        """Return the provider's account of the requests with a mark; None while it is not complete."""
        mine = [line for line in self.simulator.truth() if line["x_request"].get("x-mark") == mark]
        done = [line for line in mine if line["event"] == "done"]
        return sorted(done, key=lambda line: int(line["n"])) if len(mine) == 2 * len(done) > 0 else None


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with ExitStack() as stack:
        directory = tmp_path_factory.mktemp("endpoints")
        simulator = stack.enter_context(closing(Simulator(directory / "simulator")))
        azure = {
            "base_url": simulator.url.removesuffix("/v1"),
            "wire": "azure",
            "provider": "azure",
            "allow_private": True,
        }
        config = with_upstream({"upstreams": {"azure": azure}}, simulator.url)
        glassline = Glassline(directory / "glassline", config)
        stack.enter_context(closing(glassline))
        yield stack.enter_context(closing(Stage(glassline.start(), simulator)))


def test_pictures_are_billed_by_their_tokens(stage: Stage) -> None:
    made = stage.call(lambda sdk: sdk.images.generate(model="gpt-image-1", prompt="a cat", quality="low", n=2))
    (told,) = made.told
    assert made.row["output_tokens"] == told["usage"]["output_image_tokens"] == 544
    assert made.row["input_tokens"] == told["usage"]["input_tokens"]
    assert Decimal(str(made.row["cost_usd"])) == Decimal(made.row["input_tokens"]) * 5 / 10**6 + Decimal("0.02176")
    edited = stage.call(lambda sdk: sdk.images.edit(model="gpt-image-1", image=[PNG, PNG], prompt="join"))
    assert edited.usage["input_tokens_details"]["image_tokens"] == edited.told[0]["usage"]["input_image_tokens"]
    assert edited.row["model_requested"] == "gpt-image-1"


def test_pictures_billed_by_the_piece_are_counted_and_never_free(stage: Stage) -> None:
    made = stage.call(lambda sdk: sdk.images.generate(model="dall-e-3", prompt="a cat"))
    assert made.told[0]["usage"]["images"] == 1
    assert (made.row["cost_usd"], made.row["cost_source"]) == (None, "unknown")


def test_a_picture_in_drafts_has_a_first_token(stage: Stage) -> None:
    drawn = stage.call(
        lambda sdk: list(sdk.images.generate(model="gpt-image-1", prompt="a cat", stream=True, partial_images=2))
    )
    assert (drawn.row["streaming"], drawn.row["ttft_ms"] is not None) == (1, True)
    assert drawn.row["output_tokens"] == drawn.told[0]["usage"]["output_tokens"]


def test_speech_is_timed_and_billed_by_its_characters(stage: Stage) -> None:
    spoken = stage.call(lambda sdk: sdk.audio.speech.create(model="tts-1", voice="alloy", input="Hello, world").read())
    assert Decimal(str(spoken.row["cost_usd"])) == Decimal(spoken.told[0]["usage"]["characters"]) * 15 / 10**6
    # Its first byte is its first token, although it is no stream of events.
    (timed,) = stage.glassline.rows("SELECT first_token_us FROM exchanges WHERE id = ?", spoken.row["id"])
    assert timed["first_token_us"] > 0


def test_listening_is_billed_by_tokens_or_by_seconds(stage: Stage) -> None:
    heard = stage.call(lambda sdk: sdk.audio.transcriptions.create(model="gpt-4o-transcribe", file=SOUND))
    assert heard.usage["input_token_details"]["audio_tokens"] == heard.told[0]["usage"]["input_audio_tokens"] == 30
    assert heard.row["output_tokens"] == heard.told[0]["usage"]["output_tokens"]
    by_length = stage.call(
        lambda sdk: sdk.audio.transcriptions.create(model="whisper-1", file=SOUND, response_format="verbose_json")
    )
    assert by_length.told[0]["usage"]["seconds"] == 3
    assert Decimal(str(by_length.row["cost_usd"])) == Decimal(3) / 60 * Decimal("0.006")
    streamed = stage.call(
        lambda sdk: list(sdk.audio.transcriptions.create(model="gpt-4o-transcribe", file=SOUND, stream=True))
    )
    assert streamed.row["output_tokens"] == streamed.told[0]["usage"]["output_tokens"]


def test_subtitles_are_not_free_because_they_say_nothing(stage: Stage) -> None:
    heard = stage.call(
        lambda sdk: sdk.audio.transcriptions.create(model="whisper-1", file=SOUND, response_format="srt")
    )
    assert (heard.row["cost_usd"], heard.row["cost_source"]) == (None, "unknown")


def test_work_in_the_background_is_paid_by_one_look(stage: Stage) -> None:
    def run(sdk: openai.OpenAI) -> str:
        begun = sdk.responses.create(model="gpt-5", input="Think about it", background=True)
        for _ in range(5):
            sdk.responses.retrieve(begun.id)
        list(sdk.responses.retrieve(begun.id, stream=True, starting_after=2))
        return begun.id

    done = stage.call(run)
    billed = [(row["input_tokens"], row["output_tokens"]) for row in done.rows if row["output_tokens"] is not None]
    told = [
        (line["usage"]["input_tokens"], line["usage"]["output_tokens"])
        for line in done.told
        if line["usage"] is not None and line["usage"]["output_tokens"]
    ]
    assert len(done.rows) == 7
    assert billed == told
    assert len(told) == 1
    # The one that asked, two looks at nothing, the one who pays, then looks at what is paid.
    assert [bool(row["cost_usd"]) for row in done.rows] == [False, False, False, True, False, False, False]


def test_a_batch_is_paid_once_at_half_the_price_however_often_it_is_shown(stage: Stage) -> None:
    body = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Hi"}]}
    line = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": body}

    def run(sdk: openai.OpenAI) -> None:
        file = sdk.files.create(file=("in.jsonl", json.dumps(line).encode()), purpose="batch")
        begun = sdk.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
        seen = [sdk.batches.retrieve(begun.id) for _ in range(4)]
        for _ in range(2):
            sdk.files.content(seen[-1].output_file_id or "").read()

    done = stage.call(run)
    (told,) = [line["usage"] for line in done.told if line["usage"]]
    (paid,) = [row for row in done.rows if row["cost_usd"]]
    assert (paid["endpoint"], paid["input_tokens"]) == ("batches", told["input_tokens"])
    cost = (Decimal(told["input_tokens"]) * Decimal("0.125") + Decimal(told["output_tokens"])) / 10**6
    assert Decimal(str(paid["cost_usd"])) == cost


def test_a_video_and_a_run_are_paid_by_who_sees_them_done(stage: Stage) -> None:
    def film(sdk: openai.OpenAI) -> None:
        begun = sdk.videos.create(model="sora-2", prompt="waves", seconds="8")
        for _ in range(4):
            sdk.videos.retrieve(begun.id)

    filmed = stage.call(film)
    assert [row["cost_usd"] for row in filmed.rows if row["cost_usd"]] == [0.8]

    def ask(sdk: openai.OpenAI) -> None:
        assistant = sdk.beta.assistants.create(model="gpt-4o")
        thread = sdk.beta.threads.create(messages=[{"role": "user", "content": "Hello"}])
        run = sdk.beta.threads.runs.create(thread.id, assistant_id=assistant.id)
        for _ in range(4):
            sdk.beta.threads.runs.retrieve(run.id, thread_id=thread.id)

    asked = stage.call(ask)
    (told,) = [line["usage"] for line in asked.told if line["usage"]]
    (paid,) = [row for row in asked.rows if row["cost_usd"]]
    assert (paid["input_tokens"], paid["output_tokens"]) == (told["input_tokens"], told["output_tokens"])


def test_an_evaluation_is_paid_once_and_nothing_stays_pending(stage: Stage) -> None:
    def run(sdk: openai.OpenAI) -> None:
        made = sdk.evals.create(name="e", data_source_config={"type": "logs"}, testing_criteria=[])
        source: Any = {"type": "completions", "model": "gpt-4o", "source": {"type": "file_id", "id": "file-1"}}
        begun = sdk.evals.runs.create(made.id, name="r", data_source=source)
        for _ in range(4):
            sdk.evals.runs.retrieve(begun.id, eval_id=made.id)

    done = stage.call(run)
    (told,) = [line["usage"] for line in done.told if line["usage"]]
    (paid,) = [row for row in done.rows if row["cost_usd"]]
    assert (paid["input_tokens"], paid["output_tokens"]) == (told["input_tokens"], told["output_tokens"])
    assert all(row["cost_usd"] is not None for row in done.rows)


def test_everything_else_passes_and_costs_nothing(stage: Stage) -> None:
    def run(sdk: openai.OpenAI) -> None:
        sdk.moderations.create(input="flowers")
        sdk.responses.input_tokens.count(model="gpt-5", input="How long?")
        upload = sdk.uploads.create(bytes=3, filename="a", mime_type="text/plain", purpose="batch")
        part = sdk.uploads.parts.create(upload.id, data=b"abc")
        sdk.uploads.complete(upload.id, part_ids=[part.id])
        store = sdk.vector_stores.create(name="papers")
        sdk.vector_stores.search(store.id, query="x")
        sdk.vector_stores.delete(store.id)
        conversation = sdk.conversations.create()
        sdk.conversations.items.create(conversation.id, items=[{"type": "message", "role": "user", "content": "Hi"}])
        sdk.models.list()

    passed = stage.call(run)
    assert {row["cost_usd"] for row in passed.rows} == {0}
    assert {row["output_tokens"] for row in passed.rows} == {None}


STREAMED: dict[str, dict[str, Any]] = {
    "/chat/completions": {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}], "stream": True},
    "/responses": {"model": "gpt-5", "input": "Hi", "stream": True},
    "/images/generations": {"model": "gpt-image-1", "prompt": "a cat", "stream": True, "partial_images": 2},
    "/audio/speech": {"model": "gpt-4o-mini-tts", "voice": "alloy", "input": "Hello there", "stream_format": "sse"},
}


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
@pytest.mark.parametrize("path", STREAMED)
def test_a_compressed_stream_passes_untouched_and_is_read(stage: Stage, path: str, coding: str) -> None:
    mark = f"{path}-{coding}"
    headers = {
        "authorization": "Bearer sk-app-0123456789abcdef",
        "accept-encoding": coding,
        "x-simulate": f"coding={coding}; chunk=40",
        "x-mark": mark,
        "x-glassline-session": mark,
    }
    with httpx.stream("POST", f"{stage.glassline.url}/v1{path}", json=STREAMED[path], headers=headers) as response:
        assert response.headers["content-encoding"] == coding
        received = hashlib.sha256(b"".join(response.iter_raw())).hexdigest()
    (told,) = wait_until(lambda: stage.told(mark), "the provider's account")
    assert received == told["response_sha256"]
    (row,) = stage.glassline.wait_for_rows(1, f"session = '{mark}'")
    assert (row["input_tokens"], row["output_tokens"]) == (
        told["usage"]["input_tokens"],
        told["usage"]["output_tokens"],
    )
    assert (row["outcome"], row["streaming"], row["cost_source"]) == ("completed", 1, "table")
    assert 0 < row["ttft_ms"] <= row["duration_ms"]


@pytest.mark.parametrize("is_streaming", [False, True])
def test_a_deployment_is_billed_as_the_model_that_answered(stage: Stage, is_streaming: bool) -> None:
    mark = f"azure-{is_streaming}"
    headers = {"x-mark": mark, "x-glassline-session": mark}
    messages: Any = [{"role": "user", "content": f"Hello {is_streaming}"}]
    with openai.AzureOpenAI(
        azure_endpoint=f"{stage.glassline.url}/azure",
        api_key="azure-key-0123456789",
        api_version="2025-04-01-preview",
        default_headers=headers,
        max_retries=0,
    ) as sdk:
        if is_streaming:
            chunks = list(sdk.chat.completions.create(model="our-chat", messages=messages, stream=True))
            # The first chunk says what the filters think of the prompt, and must not be lost.
            assert "prompt_filter_results" in (chunks[0].model_extra or {})
        else:
            assert sdk.chat.completions.create(model="our-chat", messages=messages).choices
    (told,) = wait_until(lambda: stage.told(mark), "the provider's account")
    (row,) = stage.glassline.wait_for_rows(1, f"session = '{mark}'")
    assert (row["wire"], row["model_requested"], row["model"]) == ("azure", "our-chat", "gpt-4o-mini-2024-07-18")
    assert (row["input_tokens"], row["output_tokens"]) == (
        told["usage"]["input_tokens"],
        told["usage"]["output_tokens"],
    )
    cost = (Decimal(row["input_tokens"]) * Decimal("0.15") + Decimal(row["output_tokens"]) * Decimal("0.60")) / 10**6
    assert Decimal(str(row["cost_usd"])) == cost
    assert "azure-key-0123456789" not in json.dumps(row)
