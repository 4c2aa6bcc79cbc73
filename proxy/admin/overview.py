"""The routes of the overview: the verdict, how a stretch of time went, the quality of answers, and what is deployed."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from proxy.admin.answers import QuestionError, json_answer, text_answer
from proxy.admin.declared import DeclaredRoute
from proxy.admin.errands import Messenger
from proxy.admin.instruments import Instruments
from proxy.admin.measures import measures
from proxy.admin.system import read_system
from proxy.admin.watch import Observed, Watch
from proxy.admin.when import read_instant
from proxy.config import Config
from proxy.store.deployed import Deployments
from proxy.store.deployed import deployments as ask_deployments
from proxy.store.feedback import feedback_by_day
from proxy.store.overview import STEPS
from proxy.store.overview import overview as ask_overview
from proxy.store.quality import Counted
from proxy.store.quality import quality as ask_quality
from proxy.store.rollups import DAY_MS

DEFAULT_SPAN: Final = "now-24h"
MOST_STEPS: Final = 1000
"""Of an overview: more than fit on a screen."""


class OverviewDesk:
    """The endpoints of the overview."""

    def __init__(self, instruments: Instruments, watch: Watch, config: Config, messenger: Messenger) -> None:
        self._read = instruments
        self._watch = watch
        self._config = config
        self._messenger = messenger

    def routes(self) -> list[DeclaredRoute]:
        """Return the routes."""
        return [
            DeclaredRoute("/status", self.status_text, least="viewer"),
            DeclaredRoute("/api/status", self.status, least="viewer"),
            DeclaredRoute("/api/overview", self.overview, least="viewer"),
            DeclaredRoute("/api/quality", self.quality, least="viewer"),
            DeclaredRoute("/api/deployments", self.deployments, least="viewer"),
            DeclaredRoute("/api/system", self.system, least="viewer"),
            DeclaredRoute("/api/test_request", self.send_test, least="editor", method="POST"),
        ]

    async def status(self, _: Request) -> Response:
        """The verdict in a sentence, its reasons, and the tiles."""
        return json_answer(await self._watch.observed())

    async def status_text(self, _: Request) -> Response:
        """The verdict in plain text, one reason in each line."""
        return text_answer(verdict_text(await self._watch.observed()))

    async def overview(self, request: Request) -> Response:
        """How a stretch of time went, step by step."""
        now = self._read.clock.wall_ms()
        step = request.query_params.get("step", "hour")
        if step not in STEPS:
            raise QuestionError(f"step: {step} is none of {', '.join(STEPS)}")
        start = read_instant(request.query_params.get("from", DEFAULT_SPAN), now)
        end = read_instant(request.query_params.get("to", "now"), now)
        if not 0 <= end - start <= MOST_STEPS * STEPS[step]:
            raise QuestionError(f"from, to: at most {MOST_STEPS} steps, and `from` comes first")
        async with self._read.store() as store:
            question = ask_overview(start, end, step)
            found = await store.run(question) if store else question.convert([])
        return json_answer({"from": start, "to": end, "step": step, "overview": found})

    async def quality(self, _: Request) -> Response:
        """How answers ended, and what was said of them: seven days against the week before."""
        now = self._read.clock.wall_ms()
        first = now - now % DAY_MS - 13 * DAY_MS
        async with self._read.store() as store:
            counted = await store.run(ask_quality(first)) if store else Counted([], 0, 0)
            given = await store.run(feedback_by_day(first)) if store else []
        return json_answer(
            {"from": first + 7 * DAY_MS, "to": now, "read": counted.read, "of": counted.of}
            | {"measures": measures(counted, given, first)}
        )

    async def deployments(self, _: Request) -> Response:
        """Models, prompts and versions of applications in use, and since when."""
        now = self._read.clock.wall_ms()
        async with self._read.store() as store:
            return json_answer(await store.run(ask_deployments(now)) if store else Deployments([], [], []))

    async def system(self, _: Request) -> Response:
        """What runs here, in short."""
        return json_answer(await read_system(self._read, self._config))

    async def send_test(self, _: Request) -> Response:
        """Send a request without a key through the data port, to see whether the way is open."""
        answer = await self._messenger.knock("/v1/models", {"x-glassline-tags": "test=first-run"})
        return json_answer({"status": answer.status_code, "id": answer.headers.get("x-glassline-request-id")})


def verdict_text(observed: Observed) -> str:
    """Return the verdict as plain text."""
    lines = [f"{reason.level}: {reason.text}\n" for reason in observed.reasons]
    return "".join([f"{observed.verdict}\n", *lines])
