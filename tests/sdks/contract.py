"""What is demanded of an SDK in front of Glassline, and of Glassline behind an SDK."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import Any

from tests.sdks.prices import nano_usd
from tests.sdks.program import Program
from tests.sdks.stage import BROKE, KEY, Seen, Stage

MODELS: dict[str, dict[str, str]] = {
    "openai": {
        "chat": "gpt-4o-mini",
        "responses": "gpt-5",
        "error_400": "gpt-4.1",
        "error_429": "gpt-4.1-mini",
        "abort": "gpt-4.1-nano",
    },
    "groq": {
        "chat": "llama-3.3-70b-versatile",
        "error_400": "gemma2-9b-it",
        "error_429": "openai/gpt-oss-20b",
        "abort": "llama-3.1-8b-instant",
    },
    "mistral": {
        "chat": "mistral-small-latest",
        "error_400": "mistral-large-latest",
        "error_429": "ministral-8b-latest",
        "abort": "codestral-latest",
    },
    "anthropic": {
        "chat": "claude-haiku-4-5",
        "error_400": "claude-opus-4-1",
        "error_429": "claude-sonnet-4-5",
        "abort": "claude-sonnet-4-0",
    },
    "gemini": {
        "chat": "gemini-2.5-flash",
        "error_400": "gemini-2.5-pro",
        "error_429": "gemini-2.0-flash",
        "abort": "gemini-2.5-flash-lite",
    },
    "together": {
        "chat": "meta-llama/Llama-3.3-70B-Instruct-Turbo",
        "error_400": "Qwen/Qwen2.5-7B-Instruct-Turbo",
        "error_429": "mistralai/Mistral-7B-Instruct-v0.3",
        "abort": "meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo",
    },
    "openrouter": {
        "chat": "openai/gpt-4o-mini",
        "error_400": "openai/gpt-4.1",
        "error_429": "openai/gpt-4.1-mini",
        "abort": "openai/gpt-4.1-nano",
    },
    "bedrock": {
        "chat": "anthropic.claude-haiku-4-5-20251001-v1:0",
        "error_400": "anthropic.claude-3-haiku-20240307-v1:0",
        "error_429": "amazon.nova-lite-v1:0",
        "abort": "amazon.nova-micro-v1:0",
    },
    "codex": {"chat": "gpt-5-codex", "error_400": "gpt-4.1", "error_429": "gpt-4.1-mini"},
    "claude": {"chat": "claude-sonnet-4-6", "error_400": "claude-opus-4-5", "error_429": "claude-sonnet-4-5"},
    "ollama": {
        "chat": "llama3.2",
        "error_400": "qwen3",
        "error_429": "mistral",
        "abort": "gemma3",
    },
}
"""By wire, the models that are asked for. Those that stand for a fault are used for nothing else."""


@dataclass(frozen=True, slots=True)
class Contract:
    """One SDK: where it is pointed and how it behaves."""

    name: str
    program: str
    """File name under tests/sdks/python or tests/node."""
    wire: str
    """Key of MODELS."""
    direct: str
    """Path of its base URL at the provider."""
    through: str
    """Path of its base URL at Glassline."""
    refusal: str
    """Class of the exception that it raises for an exhausted budget, or a class above it."""
    environment: str = "core"
    """Directory below .cache/sdks; node: the packages of tests/node."""
    attempts: int = 3
    """Requests it makes in all when the provider answers 429."""
    error_attempts: int = 1
    """Requests it makes in all when the provider answers 400."""
    refusal_attempts: int = 1
    """Most requests it makes when Glassline refuses."""
    refusal_says: str = "budget"
    """What it then tells its user, in small letters."""
    refused: tuple[str, ...] = ("chat", "stream")
    """Scenarios that are tried with a budget used up."""
    leaves_early: bool = False
    """It hangs up when it has seen the last event, not when the response is over."""
    is_random: bool = False
    """It puts something random into its requests, so answers can be compared by their shape alone."""


class Difference(AssertionError):
    """Something is not as it should be."""


def demand(condition: object, what: str) -> None:
    """Raise Difference unless `condition`."""
    if not condition:
        raise Difference(what)


def play(stage: Stage, program: Program, contract: Contract, scenario: str, *, through: bool, key: str = KEY) -> Seen:
    """Make one call and return all that is known about it."""
    path = contract.through if through else contract.direct
    models = MODELS[contract.wire]
    model = models.get(scenario) or models.get(scenario.partition("_")[0]) or models["chat"]
    url = stage.url(path, through=through)
    with stage.watch(through=through) as seen:
        seen.answer.update(program.call(scenario=scenario, base_url=url, api_key=key, model=model))
    return seen


def check(stage: Stage, program: Program, contract: Contract, scenario: str) -> None:
    """Make a call both ways and hold the two against each other. Raises Difference."""
    direct = play(stage, program, contract, scenario, through=False)
    passed = play(stage, program, contract, scenario, through=True)
    if scenario == "websocket":
        check_socket(direct, passed)
        return
    expect_outcome(contract, scenario, direct)
    expect_outcome(contract, scenario, passed)
    same_answer(contract, direct, passed)
    same_requests(contract, direct, passed)
    if scenario == "abort":
        aborted_record(passed)
    else:
        true_records(stage, contract, passed)


def check_socket(direct: Seen, passed: Seen) -> None:
    """Hold a conversation over a WebSocket against the same without Glassline, and its record against the provider."""
    for seen in (direct, passed):
        demand("result" in seen.answer, f"failed: {seen.answer}")
        demand(seen.turns, "nothing was said over a WebSocket")
    demand(shape(direct.answer) == shape(passed.answer), f"direct: {direct.answer}\nthrough: {passed.answer}")
    demand(len(passed.rows) == 1, f"{len(passed.rows)} rows")
    [row] = passed.rows
    for name in ("input_tokens", "output_tokens"):
        billed = sum(turn["usage"][name] for turn in passed.turns)
        demand(row[name] == billed, f"{name}: recorded {row[name]}, billed {billed}")
    demand(
        (row["status"], row["usage_source"]) == (101, "provider"), f"{row['status']}, usage from {row['usage_source']}"
    )


def check_refusal(stage: Stage, program: Program, contract: Contract, scenario: str) -> None:
    """Make a call whose budget is used up: the natural exception, and nothing reaches the provider."""
    seen = play(stage, program, contract, scenario, through=True, key=BROKE)
    error = seen.answer.get("error")
    demand(error is not None, f"no exception: {seen.answer}")
    assert error is not None
    kinds = [error["type"], *error["bases"]]
    demand(contract.refusal in kinds, f"{kinds}, expected {contract.refusal}: {error['message']}")
    demand(contract.refusal_says in error["message"].lower(), f"the message does not say why: {error['message']}")
    demand(not seen.truths, f"{len(seen.truths)} requests reached the provider")
    demand(1 <= len(seen.rows) <= contract.refusal_attempts, f"{len(seen.rows)} attempts")
    for row in seen.rows:
        demand((row["outcome"], row["error_code"]) == ("refused", "budget_exceeded"), f"recorded as {row}")


def expect_outcome(contract: Contract, scenario: str, seen: Seen) -> None:
    """Hold one call against what its scenario is about."""
    if scenario.startswith("error_"):
        attempts = contract.attempts if scenario == "error_429" else contract.error_attempts
        demand("error" in seen.answer, f"no exception: {seen.answer}")
        demand(len(seen.truths) == attempts, f"{len(seen.truths)} requests, expected {attempts}")
        return
    demand("result" in seen.answer, f"failed: {seen.answer}")
    demand(seen.truths, "nothing reached the provider")
    finished = [truth["finished"] for truth in seen.truths]
    demand(finished == [scenario != "abort"] * len(finished), f"provider finished: {finished}")


def same_answer(contract: Contract, direct: Seen, passed: Seen) -> None:
    """Demand equal results. To another request the provider wrote another text: then results of the same shape."""
    mine, theirs = passed.answer, direct.answer
    if contract.is_random or any(row["mutated"] for row in passed.rows):
        mine, theirs = shape(mine), shape(theirs)
    demand(mine == theirs, f"direct: {theirs}\nthrough: {mine}")


def shape(value: Any) -> Any:
    """Return what kind of thing a result is: its names and types, not its texts.

    A provider that was asked for usage adds `usage: null` to every event, which stays.
    """
    if isinstance(value, dict):
        return {name: shape(part) for name, part in value.items() if (name, part) != ("usage", None)}
    if isinstance(value, list):
        shapes = [shape(part) for part in value]
        return [part for index, part in enumerate(shapes) if part not in shapes[:index]]
    return type(value).__name__


def same_requests(contract: Contract, direct: Seen, passed: Seen) -> None:
    """Demand that the provider was asked the same things."""
    for name in ("method", "path", "status"):
        expected, found = ([truth[name] for truth in seen.truths] for seen in (direct, passed))
        demand(expected == found, f"{name}: direct {expected}, through {found}")
    if contract.is_random:
        return
    is_edited = any(row["mutated"] for row in passed.rows)
    for theirs, mine in zip(direct.truths, passed.truths, strict=True):
        different = difference(headers(theirs, is_edited), headers(mine, is_edited))
        demand(not different, f"headers, direct and through: {different}")
        if not is_edited and "multipart" not in theirs["x_request"].get("content-type", ""):
            demand(theirs["request_sha256"] == mine["request_sha256"], "the request bodies differ")


def difference(first: dict[str, str], second: dict[str, str]) -> dict[str, tuple[str | None, str | None]]:
    """Return the entries that are not the same in both."""
    names = first.keys() | second.keys()
    return {name: (first.get(name), second.get(name)) for name in names if first.get(name) != second.get(name)}


def headers(truth: dict[str, Any], is_edited: bool) -> dict[str, str]:
    """Return the headers that must arrive as they were sent."""
    moving = {"host", "content-length"}
    if "multipart" in truth["x_request"].get("content-type", ""):
        moving.add("content-type")  # its boundary is random
    if "x-amz-date" in truth["x_request"]:
        moving |= {"authorization", "x-amz-date"}  # signed anew, with the operator's credentials
        moving.add("user-agent")  # boto3 lists its features in any order
    if is_edited:
        moving.add("accept-encoding")  # an answer from which an event is taken out again must not be compressed
    return {name: value for name, value in truth["x_request"].items() if name not in moving}


def aborted_record(seen: Seen) -> None:
    """Demand that a stream which the application left is recorded, at the cost of what was written until then."""
    demand(len(seen.rows) == 1, f"{len(seen.rows)} rows")
    [row], [truth] = seen.rows, seen.truths
    demand(row["outcome"] == "client_closed", f"outcome {row['outcome']}")
    demand(row["usage_source"] in ("estimated", "provider"), f"usage from {row['usage_source']}")
    billed = truth["usage"]["output_tokens"]
    # What the provider said is exact; an estimate errs on the safe side, by the margin of its tokenizer.
    most = billed if row["usage_source"] == "provider" else billed * 1.5 + 8
    demand(0 < (row["output_tokens"] or 0) <= most, f"{row['output_tokens']} tokens, the provider bills {billed}")
    demand(row["ttft_ms"] is not None, "no time to the first token")


def true_records(stage: Stage, contract: Contract, seen: Seen) -> None:
    """Demand that the records say what the provider says, byte for byte and token for token."""
    demand(len(seen.rows) == len(seen.truths), f"{len(seen.rows)} rows for {len(seen.truths)} requests")
    for side in ("request", "response"):
        if side == "request" and any(row["mutated"] for row in seen.rows):
            continue
        # Who tries again may hang up on the error without reading it: then there is nothing to compare.
        left = [row for row in seen.rows if side == "response" and row["outcome"] == "client_closed"]
        kept = Counter(digest(stage.body(row, side)) for row in seen.rows if row not in left)
        sent = Counter((truth[f"{side}_sha256"], truth[f"{side}_bytes"]) for truth in seen.truths)
        outcomes = [row["outcome"] for row in seen.rows]
        is_same = kept <= sent and kept.total() + len(left) == sent.total()
        demand(is_same, f"{side} bodies: recorded {kept}, the provider says {sent}; {outcomes}")
    for row, truth in zip(seen.rows, seen.truths, strict=True):
        true_record(contract, row, truth)


def digest(body: bytes) -> tuple[str, int]:
    """Return SHA-256 and size of a body."""
    return hashlib.sha256(body).hexdigest(), len(body)


def true_record(contract: Contract, row: dict[str, Any], truth: dict[str, Any]) -> None:
    """Hold one row against the provider's account of the request."""
    may_leave = contract.leaves_early or truth["status"] >= 400
    endings = ("completed", "client_closed") if may_leave else ("completed",)
    demand(row["status"] == truth["status"] and row["outcome"] in endings, f"{row['status']} {row['outcome']}")
    usage = truth["usage"]
    if usage is None or truth["status"] != 200:
        return
    demand(row["input_tokens"] == usage["input_tokens"], f"input {row['input_tokens']}, billed {usage}")
    demand((row["output_tokens"] or 0) == (usage["output_tokens"] or 0), f"output {row['output_tokens']}, {usage}")
    demand(row["usage_source"] == "provider", f"usage from {row['usage_source']}")
    model = row["model"] or row["model_requested"]
    demand(model, "no model")
    wanted = nano_usd(contract.wire, model, usage)
    if wanted is not None:
        demand(row["cost_source"] == "table", f"cost from {row['cost_source']}")
        demand(round(row["cost_usd"] * 1e9) == wanted, f"cost {row['cost_usd']}, by hand {wanted} nano-dollars")
    if row["streaming"]:
        demand(row["ttft_ms"] is not None, "no time to the first token")
