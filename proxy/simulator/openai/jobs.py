"""Work that takes its time: videos, fine-tuning, evaluations. Each look moves it one state on."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from proxy.simulator.answer import Usage
from proxy.simulator.desk import Asked, text_of
from proxy.simulator.openai.drawer import Drawer, Object, listed, shown
from proxy.simulator.openai.errors import missing
from proxy.simulator.openai.switchboard import Row
from proxy.simulator.rejection import RejectionError
from proxy.simulator.reply import Plain

_NEXT_VIDEO = {"queued": ("in_progress", 50), "in_progress": ("completed", 100)}
_NEXT_JOB = {"validating_files": "queued", "queued": "running", "running": "succeeded"}
_NEXT_RUN = {"queued": "in_progress", "in_progress": "completed"}
_GRADED = {"prompt_tokens": 1200, "completion_tokens": 300, "cached_tokens": 0, "total_tokens": 1500}
_TRAINED_TOKENS = 50_000


class VideoRoom:
    """Videos, billed by the second once they are completed."""

    def __init__(self) -> None:
        self._videos = Drawer(
            "video",
            "video_",
            model="sora-2",
            prompt="",
            seconds="4",
            size="720x1280",
            status="queued",
            progress=0,
            error=None,
            remixed_from_video_id=None,
        )

    def rows(self) -> Iterable[Row]:
        """Return what is answered here."""
        return (
            ("POST", "videos", self._create),
            ("GET", "videos", self._videos.list),
            ("GET", "videos/{}", self._look),
            ("DELETE", "videos/{}", self._videos.delete),
            ("GET", "videos/{}/content", self._content),
            ("POST", "videos/{}/remix", self._remix),
        )

    def _create(self, asked: Asked) -> Plain:
        if not asked.content.get("prompt"):
            raise missing("prompt")
        return self._videos.create(asked)

    def _remix(self, asked: Asked, video_id: str) -> Plain:
        source = self._videos.find(video_id)
        kept = {name: source[name] for name in ("model", "seconds", "size")}
        return shown(self._videos.put(asked, kept | {"remixed_from_video_id": video_id}))

    def _look(self, _asked: Asked, video_id: str) -> Plain:
        video = self._videos.find(video_id)
        if video["status"] not in _NEXT_VIDEO:
            return shown(video)
        video["status"], video["progress"] = _NEXT_VIDEO[video["status"]]
        is_done = video["status"] == "completed"
        bill = Usage(0, extra=(("video_seconds", int(video["seconds"])),)) if is_done else None
        return Plain(200, msgspec.json.encode(video), bill)

    def _content(self, _asked: Asked, video_id: str) -> Plain:
        if self._videos.find(video_id)["status"] != "completed":
            raise RejectionError(404, "Video is not ready yet, use GET /v1/videos/{video_id} to check status.")
        return Plain(200, b"\0\0\0\x18ftypmp42" + video_id.encode() * 64, content_type="video/mp4")


class TrainingRoom:
    """Fine-tuning jobs."""

    def __init__(self) -> None:
        self._jobs = Drawer(
            "fine_tuning.job",
            "ftjob-",
            model="",
            training_file="",
            validation_file=None,
            hyperparameters={"batch_size": "auto", "learning_rate_multiplier": "auto", "n_epochs": "auto"},
            status="validating_files",
            fine_tuned_model=None,
            finished_at=None,
            trained_tokens=None,
            organization_id="org-simulated",
            result_files=[],
            error=None,
            seed=0,
        )

    def rows(self) -> Iterable[Row]:
        """Return what is answered here."""
        return (
            ("POST", "fine_tuning/jobs", self._jobs.create),
            ("GET", "fine_tuning/jobs", self._jobs.list),
            ("GET", "fine_tuning/jobs/{}", self._look),
            ("POST", "fine_tuning/jobs/{}/cancel", self._cancel),
            ("GET", "fine_tuning/jobs/{}/events", self._nothing),
            ("GET", "fine_tuning/jobs/{}/checkpoints", self._nothing),
        )

    def _look(self, _asked: Asked, job_id: str) -> Plain:
        job = self._jobs.find(job_id)
        job["status"] = _NEXT_JOB.get(job["status"], job["status"])
        if job["status"] == "succeeded":
            job["fine_tuned_model"] = f"ft:{job['model']}:simulated::{job_id[-8:]}"
            job["trained_tokens"] = _TRAINED_TOKENS
        return shown(job)

    def _cancel(self, _asked: Asked, job_id: str) -> Plain:
        job = self._jobs.find(job_id)
        job["status"] = "cancelled"
        return shown(job)

    def _nothing(self, _asked: Asked, job_id: str) -> Plain:
        self._jobs.find(job_id)
        return listed([])


class ExaminationRoom:
    """Evaluations and their runs."""

    def __init__(self) -> None:
        self._evals = Drawer("eval", "eval_", name="", data_source_config=None, testing_criteria=[], metadata={})
        self._runs = Drawer(
            "eval.run", "evalrun_", eval_id="", name="", data_source=None, model="", status="queued", error=None
        )

    def rows(self) -> Iterable[Row]:
        """Return what is answered here."""
        return (
            ("POST", "evals", self._evals.create),
            ("GET", "evals", self._evals.list),
            ("GET", "evals/{}", self._evals.retrieve),
            ("POST", "evals/{}", self._evals.update),
            ("DELETE", "evals/{}", self._evals.delete),
            ("POST", "evals/{}/runs", self._begin),
            ("GET", "evals/{}/runs", self._list),
            ("GET", "evals/{}/runs/{}", self._look),
            ("GET", "evals/{}/runs/{}/output_items", self._items),
        )

    def _begin(self, asked: Asked, eval_id: str) -> Plain:
        self._evals.find(eval_id)
        source = asked.content.get("data_source")
        model = text_of(source.get("model")) if isinstance(source, dict) else ""
        return shown(self._runs.put(asked, {"eval_id": eval_id, "model": model}))

    def _list(self, asked: Asked, eval_id: str) -> Plain:
        return self._runs.list(asked, eval_id=eval_id)

    def _look(self, _asked: Asked, _eval_id: str, run_id: str) -> Plain:
        run = self._runs.find(run_id)
        if run["status"] not in _NEXT_RUN:
            return shown(run)
        run["status"] = _NEXT_RUN[run["status"]]
        bill = None
        if run["status"] == "completed":
            used: Object = {"model_name": run["model"], "invocation_count": 1, **_GRADED}
            run["per_model_usage"] = [used]
            bill = Usage(used["prompt_tokens"], 0, used["completion_tokens"])
        return Plain(200, msgspec.json.encode(run), bill)

    def _items(self, _asked: Asked, _eval_id: str, run_id: str) -> Plain:
        self._runs.find(run_id)
        return listed([])
