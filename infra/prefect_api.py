"""A small client of Prefect's REST API: starts and follows runs without importing Prefect."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
from pydantic import BaseModel
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential_jitter

from infra.local.platform_parts import WORK_POOL
from karat.credentials import prefect_login
from karat.errors import NotFound, ServiceDown, did_you_mean
from karat.settings import Settings

#: States of which no other follows.
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
_PAGE = 200
#: What Prefect's own client asks again for, too: its server says 503 while SQLite is locked by another request.
_BUSY = (408, 429, 502, 503)
BUSY_SECONDS = 30.0


class Run(BaseModel):
    """A flow run, as Prefect tells it."""

    id: str
    name: str
    flow_id: str = ""
    state_type: str | None = None
    state_name: str | None = None
    state: dict[str, Any] | None = None
    parameters: dict[str, Any] = {}
    created: datetime | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    total_run_time: float = 0.0
    run_count: int = 0
    infrastructure_pid: str | None = None
    parent_task_run_id: str | None = None
    auto_scheduled: bool = False

    @property
    def state_time(self) -> datetime | None:
        """When the run came into its state."""
        told = (self.state or {}).get("timestamp")
        return datetime.fromisoformat(told) if told else None

    @property
    def message(self) -> str:
        """The message of the run's state."""
        return (self.state or {}).get("message") or ""

    @property
    def is_final(self) -> bool:
        """Whether the run has ended."""
        return self.state_type in FINAL


class Line(BaseModel):
    """A log line of a run."""

    id: str
    level: int
    message: str
    timestamp: datetime
    task_run_id: str | None = None


def _is_busy(error: BaseException) -> bool:
    """A server that is there; one that refuses connections is down, which is said at once."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in _BUSY
    return isinstance(error, (httpx.ReadTimeout, httpx.RemoteProtocolError, httpx.ReadError))


class Prefect:
    """One server. Every call raises ServiceDown where it does not answer, or is busy for ``busy_seconds``."""

    def __init__(self, settings: Settings, busy_seconds: float = BUSY_SECONDS) -> None:
        self._settings = settings
        self._patience = Retrying(
            retry=retry_if_exception(_is_busy),
            wait=wait_exponential_jitter(initial=0.2, max=5),
            stop=stop_after_delay(busy_seconds),
            reraise=True,
        )
        self._http = httpx.Client(
            base_url=settings.prefect_api_url,
            auth=prefect_login(settings),
            timeout=30,
            trust_env=False,
            transport=httpx.HTTPTransport(retries=3, verify=False),  # plain HTTP
        )

    def start(self, flow: str, deployment: str, name: str, parameters: dict[str, Any], **more: Any) -> Run:
        """A run of the deployment as soon as its worker takes it. Raises NotFound for an unknown deployment.

        ``more`` goes into the request as it is (``job_variables``, ``idempotency_key``, ...).
        """
        answer = self._call("GET", f"/deployments/name/{flow}/{deployment}", missing=True)
        if answer is None:
            known = [d["name"] for d in self._call("POST", "/deployments/filter", {}) or []]
            raise NotFound(
                f"there is no deployment {flow}/{deployment}",
                where=self._settings.prefect_url,
                remedy=f"karat up registers it. {did_you_mean(deployment, known)}".strip(),
            )
        body = {"name": name, "parameters": parameters, "state": {"type": "SCHEDULED"}}
        # Asked twice, since the first answer was lost, it is still one run.
        body |= {"idempotency_key": uuid.uuid4().hex} | more
        return Run.model_validate(self._call("POST", f"/deployments/{answer['id']}/create_flow_run", body))

    def run(self, run: str) -> Run:
        """The run of an id, as it is now."""
        return Run.model_validate(self._call("GET", f"/flow_runs/{run}"))

    def children(self, run: str) -> list[Run]:
        """The pipelines that ran within a run, in their order."""
        body = {"flow_runs": {"parent_flow_run_id": {"any_": [run]}}, "sort": "START_TIME_ASC"}
        return [Run.model_validate(r) for r in self._call("POST", "/flow_runs/filter", body)]

    def recent(self, limit: int) -> list[Run]:
        """The last runs that somebody or a schedule started, the newest first."""
        body = {
            "flow_runs": {"parent_task_run_id": {"is_null_": True}, "state": {"type": {"not_any_": ["SCHEDULED"]}}},
            "sort": "START_TIME_DESC",
            "limit": limit,
        }
        return [Run.model_validate(r) for r in self._call("POST", "/flow_runs/filter", body)]

    def flow_names(self, flows: Sequence[str]) -> dict[str, str]:
        """The names of flows by id."""
        if not flows:
            return {}
        body = {"flows": {"id": {"any_": list(flows)}}}
        return {f["id"]: f["name"] for f in self._call("POST", "/flows/filter", body)}

    def logs(self, runs: Sequence[str], since: datetime) -> Iterator[Line]:
        """The log lines of these runs from ``since`` on, in the order of their times."""
        chosen = {"flow_run_id": {"any_": list(runs)}, "timestamp": {"after_": since.isoformat()}}
        for offset in itertools.count(0, _PAGE):
            body = {"logs": chosen, "sort": "TIMESTAMP_ASC", "offset": offset, "limit": _PAGE}
            found = self._call("POST", "/logs/filter", body)
            yield from (Line.model_validate(line) for line in found)
            if len(found) < _PAGE:
                return

    def table(self, run: str, key: str) -> list[dict[str, Any]] | None:
        """The last table artifact of that key in that run."""
        body = {
            "artifacts": {"flow_run_id": {"any_": [run]}, "key": {"any_": [key]}},
            "sort": "CREATED_DESC",
            "limit": 1,
        }
        found = self._call("POST", "/artifacts/filter", body)
        if not found:
            return None
        data = found[0]["data"]
        return list(json.loads(data) if isinstance(data, str) else data)

    def unfinished(self) -> list[Run]:
        """The runs that a worker of this platform has begun and that have not ended, without their pipelines."""
        return self._of_pool({"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}})

    def waiting(self) -> list[Run]:
        """The runs that the next worker takes at once: somebody has started them, or they are to be resumed."""
        due = datetime.now(UTC)
        found = self._of_pool({"type": {"any_": ["SCHEDULED"]}}, next_scheduled_start_time={"before_": due.isoformat()})
        return [run for run in found if run.run_count or not run.auto_scheduled]

    def _of_pool(self, state: dict[str, Any], **more: Any) -> list[Run]:
        chosen = {"parent_task_run_id": {"is_null_": True}, "state": state} | more
        body = {"flow_runs": chosen, "work_pools": {"name": {"any_": [WORK_POOL]}}, "limit": _PAGE}
        return [Run.model_validate(r) for r in self._call("POST", "/flow_runs/filter", body)]

    def unfinished_pipelines(self) -> list[Run]:
        """The pipelines within a run that have not ended."""
        states = ["PENDING", "RUNNING", "CANCELLING"]
        chosen = {"parent_task_run_id": {"is_null_": False}, "state": {"type": {"any_": states}}}
        body = {"flow_runs": chosen, "limit": _PAGE}
        return [Run.model_validate(r) for r in self._call("POST", "/flow_runs/filter", body)]

    def parent(self, pipeline: Run) -> Run:
        """The run that a pipeline is part of."""
        return self.run(self._call("GET", f"/task_runs/{pipeline.parent_task_run_id}")["flow_run_id"])

    def set_state(self, run: str, kind: str, name: str, message: str) -> None:
        """Brings a run into a state, whatever Prefect's rules say: its process can no longer do so."""
        state: dict[str, Any] = {"type": kind, "name": name, "message": message}
        if kind == "SCHEDULED":
            state["state_details"] = {"scheduled_time": datetime.now(UTC).isoformat()}
        self._call("POST", f"/flow_runs/{run}/set_state", {"state": state, "force": True})

    def say(self, run: str, level: int, message: str) -> None:
        """Adds a line to the log of a run."""
        line = {"name": "karat", "level": level, "message": message, "flow_run_id": run}
        self._call("POST", "/logs/", [line | {"timestamp": datetime.now(UTC).isoformat()}])

    def cancel(self, run: str) -> None:
        """The worker then ends the flow's process and calls its hook, which stops the jobs."""
        self._call("POST", f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})

    def address(self, run: str) -> str:
        """The page of a run."""
        return f"{self._settings.prefect_url}/runs/flow-run/{run}"

    def _call(self, method: str, path: str, body: Any = None, *, missing: bool = False) -> Any:
        try:
            answer = self._patience(self._once, method, path, body)
            if missing and answer.status_code == 404:
                return None
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise ServiceDown(
                f"the Prefect server does not answer: {error}",
                where=self._settings.prefect_api_url,
                remedy="start the platform with: karat up",
            ) from error
        return answer.json() if answer.content else None

    def _once(self, method: str, path: str, body: Any) -> httpx.Response:
        answer = self._http.request(method, path, json=body)
        if answer.status_code in _BUSY:
            answer.raise_for_status()
        return answer
