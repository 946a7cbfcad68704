"""``karat status``: whether each part answers, and whether versions, databases, schedules and disk are sound."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psutil
from pydantic import BaseModel

from infra.local import databases, versions
from infra.local.instances import instances
from infra.local.platform_parts import log_file, parts
from infra.local.probes import PROBES, NoAnswer, call_ray, list_prefect, node_states
from infra.local.strangers import strangers_of
from infra.local.supervisor import Supervisor, SupervisorState
from karat.settings import Settings, unknown_settings

#: Prefect's scheduler looks at new deployments every few seconds, at all of them once a minute.
SCHEDULER_SECONDS = 90
LEAST_FREE = 2**30


class PartStatus(BaseModel):
    """One part of the platform; ``problem`` is empty if it answers."""

    name: str
    title: str
    state: str
    pid: int | None
    uptime_seconds: float | None
    address: str
    log: str
    problem: str


class SoundnessCheck(BaseModel):
    """One check of the platform; ``problems`` is empty if it holds."""

    name: str
    problems: list[str]


class PlatformStatus(BaseModel):
    """The platform of one home.

    Attributes:
        home: Its folder.
        running: Whether any part of it runs.
        watched: Whether a supervisor runs, which starts a part again when it dies.
        sound: Whether it is watched, every part answers and every check holds.
        parts: Every part.
        checks: Every check that can be made.
        problems: What is wrong with the platform as a whole, and what to do.
    """

    home: str
    auth: str
    running: bool
    watched: bool
    sound: bool
    parts: list[PartStatus]
    checks: list[SoundnessCheck]
    problems: list[str] = []


def status(settings: Settings) -> PlatformStatus:
    """Looks at everything, changes nothing, and takes a few seconds at most where parts hang."""
    supervisor = Supervisor(settings)
    states, running = supervisor.states(), instances(settings)
    with ThreadPoolExecutor(16) as pool:  # each waits for somebody else's answer
        looks = CHECKS | (LIVE_CHECKS if states or running else {})
        checking = [pool.submit(_check, name, look, settings) for name, look in looks.items()]
        strangers = strangers_of(settings)
        shown = list(
            pool.map(lambda n: _part(settings, n, states.get(n), running.get(n), strangers.get(n)), parts(settings))
        )
        checks = [check.result() for check in checking]
    problems = [] if states else _unwatched(supervisor, list(running)) or list(strangers.values())
    sound = bool(states) and not any(p.problem for p in shown) and not any(c.problems for c in checks)
    return PlatformStatus(
        home=str(settings.home),
        auth=settings.auth,
        running=bool(states or running),
        watched=bool(states),
        sound=sound,
        parts=shown,
        checks=checks,
        problems=problems,
    )


def _unwatched(supervisor: Supervisor, running: list[str]) -> list[str]:
    """Why nobody starts a part again, and what to do; empty where nothing runs at all."""
    hanging = ", ".join(str(process.pid) for process in supervisor.processes())
    if not running and not hanging:
        return []
    who = f"the supervisor (process {hanging}) does not answer" if hanging else "the supervisor has ended"
    return [
        f"{who}: what runs goes on, but a part that dies stays down. The keeper starts another supervisor within a "
        "minute, if it runs; else: karat up, which takes over what runs, without a restart"
    ]


def _part(
    settings: Settings,
    name: str,
    state: SupervisorState | None,
    running: psutil.Process | None,
    stranger: str | None,
) -> PartStatus:
    part = parts(settings)[name]
    if stranger:
        problem = stranger
    elif running is not None:
        problem = PROBES[name](settings)
    elif state is None:
        problem = "it does not run"
    else:
        problem = state.said or state.name
    return PartStatus(
        name=name,
        title=part.title,
        state=state.name if state else "UNWATCHED" if running else "DOWN",
        pid=running.pid if running else None,
        uptime_seconds=round(time.time() - running.create_time(), 1) if running else None,
        address=part.address,
        log=str(log_file(settings, name)),
        problem=problem,
    )


def _check(name: str, look: Callable[[Settings], list[str]], settings: Settings) -> SoundnessCheck:
    try:
        return SoundnessCheck(name=name, problems=look(settings))
    except NoAnswer as silence:
        return SoundnessCheck(name=name, problems=[str(silence)])


def _disk(settings: Settings) -> list[str]:
    home = next(p for p in (settings.home, *settings.home.parents) if p.is_dir())
    free = shutil.disk_usage(home).free
    return [] if free >= LEAST_FREE else [f"only {free / 2**20:.0f} MiB are free where {home} lies"]


def _nodes(settings: Settings) -> list[str]:
    """A node that died stays listed, so only the living count."""
    states = node_states(settings)
    return [] if "ALIVE" in states else [f"no node of Ray lives: {states}"]


def _applications(settings: Settings) -> list[str]:
    found = call_ray(settings, "/api/serve/applications/").get("applications", {})
    wrong = [
        f"application {n!r} is {a['status']}: {a['message']}" for n, a in found.items() if a["status"] != "RUNNING"
    ]
    return wrong or ([] if found else ["Serve has no application"])


def _schedules(settings: Settings) -> list[str]:
    """Every active schedule must have a run waiting: Prefect's scheduler can stop without a word."""
    deployments = list_prefect(settings, "/deployments/filter", {"sort": "CREATED_DESC"})
    settled = datetime.now(UTC) - timedelta(seconds=SCHEDULER_SECONDS)
    due = {
        d["id"]: d["name"]
        for d in deployments
        if not d["paused"]
        and any(schedule["active"] for schedule in d["schedules"])
        and datetime.fromisoformat(d["updated"]) < settled
    }
    if not due:
        return []
    waiting = {
        "deployments": {"id": {"any_": list(due)}},
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
        "sort": "ID_DESC",
    }
    scheduled = {run["deployment_id"] for run in list_prefect(settings, "/flow_runs/filter", waiting)}
    return [f"deployment {name!r} has a schedule and no scheduled run" for i, name in due.items() if i not in scheduled]


CHECKS: dict[str, Callable[[Settings], list[str]]] = {
    "versions": lambda settings: versions.unsound(),
    "settings": lambda settings: unknown_settings(),
    "disk": _disk,
}
#: What can be asked only while it runs.
LIVE_CHECKS: dict[str, Callable[[Settings], list[str]]] = {
    "databases": databases.unsound,
    "schedules": _schedules,
    "Ray's nodes": _nodes,
    "Serve's applications": _applications,
}
