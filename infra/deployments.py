"""Prefect deployments: one per flow and project, on its schedule. Flows are read as text, never imported."""

from __future__ import annotations

import ast
import contextlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.utilities.callables import parameter_schema_from_entrypoint

from infra.code import ROOT
from infra.local.access import REGISTRAR_HEADER
from infra.local.platform_parts import WORK_POOL
from infra.local.probes import prefect
from infra.local.registration import TAG, forget_registered, note_registered
from infra.work_pool import ensure_work_pool
from infra.zombies import register_zombie_automation
from karat.credentials import prefect_login, registrar_token
from karat.declare import Project, load_project, project_names
from karat.errors import DeclarationError, KaratError, ServiceDown
from karat.fingerprint import fingerprint
from karat.monitoring import SCHEDULES
from karat.settings import Settings

#: flow -> field of a project's ``schedules`` -> what such a run is told; the other flows run when they are called.
SCHEDULED: dict[str, dict[str, dict[str, Any]]] = {
    "feature-pipeline": {"features": {}},
    "inference-pipeline": {"inference": {}},
    "training-pipeline": {"training": {}},
    "monitoring-pipeline": {name: {"checks": [check]} for check, name in SCHEDULES.items()},
    "master-orchestrator": {"master": {}},
}
MASTER = "master-orchestrator"


@dataclass
class RegisteredDeployment:
    """``deployments`` as ``flow/project``; ``problems``: one text for each project that could not be read."""

    deployments: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def register_deployments(settings: Settings) -> list[str]:
    """Brings the server's deployments to what the projects declare; gives their names, ``flow/project``.

    Called twice it changes nothing; a schedule that somebody has paused stays paused. Raises ServiceDown.
    """
    return register(settings).deployments


def register(settings: Settings) -> RegisteredDeployment:
    """As ``register_deployments``; a broken project keeps the deployments it has, and is told of."""
    done, kept = RegisteredDeployment(), set()
    forget_registered(settings)
    with _client(settings) as client:
        ensure_work_pool(client, settings)
        register_zombie_automation(client)
        known = _known(client)
        for name in project_names(settings):
            try:
                project = load_project(name, settings)
            except DeclarationError as error:
                done.problems.append(str(error))
                kept.add(name)
                continue
            for flow, entrypoint in flows().items():
                _deploy(client, flow, entrypoint, project, known.get(f"{flow}/{name}"))
                done.deployments.append(f"{flow}/{name}")
        _remove_stale(client, known, done.deployments, kept)
    if not done.problems:
        note_registered(settings, done.deployments)
    return done


def flows() -> dict[str, str]:
    """Every flow's name and its entry point, ``flows/FILE.py:FUNCTION``, from the text of the files."""
    found = {}
    for file in sorted((ROOT / "flows").glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (name := _flow_name(node)):
                found[name] = f"flows/{file.name}:{node.name}"
    return found


def _flow_name(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str | None:
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Name) and decorator.func.id == "flow":
            return next((ast.literal_eval(k.value) for k in decorator.keywords if k.arg == "name"), None)
    return None


@contextlib.contextmanager
def _client(settings: Settings) -> Iterator[SyncPrefectClient]:
    try:
        login, token = prefect_login(settings), registrar_token(settings)
        with SyncPrefectClient(
            settings.prefect_api_url,
            auth_string=login.text if login else None,
            httpx_settings={"headers": {REGISTRAR_HEADER: token} if token else {}},
        ) as client:
            yield client
    except (httpx.HTTPError, RuntimeError) as error:
        raise ServiceDown(
            f"the Prefect server took no deployments: {error}", where=settings.prefect_url, remedy="karat up"
        ) from error


def _known(client: SyncPrefectClient) -> dict[str, DeploymentResponse]:
    """Our deployments on the server, by ``flow/name``."""
    ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    found: dict[str, DeploymentResponse] = {}
    while page := client.read_deployments(deployment_filter=ours, limit=100, offset=len(found)):
        for deployment in page:
            found[f"{client.read_flow(deployment.flow_id).name}/{deployment.name}"] = deployment
    return found


def _deploy(
    client: SyncPrefectClient, flow: str, entrypoint: str, project: Project, known: DeploymentResponse | None
) -> None:
    definition = _definition(flow, entrypoint, project)
    digest = fingerprint(definition, size=8)
    if known is not None and known.version == digest:
        return
    schedules = [
        DeploymentScheduleCreate(
            schedule=CronSchedule(cron=cron, timezone=project.spec.timezone),
            slug=name.replace("_", "-"),
            parameters=SCHEDULED[flow][name],
        )
        for name, cron in definition.pop("crons").items()
    ]
    client.create_deployment(
        flow_id=client.create_flow_from_name(flow),
        version=digest,
        schedules=schedules,
        enforce_parameter_schema=True,
        **definition,
    )


def _definition(flow: str, entrypoint: str, project: Project) -> dict[str, Any]:
    schema = parameter_schema_from_entrypoint(f"{ROOT}/{entrypoint}")
    return {
        "name": project.name,
        "entrypoint": entrypoint,
        "parameters": {"project": project.name},
        "parameter_openapi_schema": schema.model_dump_for_openapi(),
        "description": f"{flow} of {project.name}: {project.spec.description}",
        "tags": [TAG, project.name, project.environment],
        "work_pool_name": WORK_POOL,
        "pull_steps": [{"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}],
        "crons": crons_of(flow, project),
    }


def crons_of(flow: str, project: Project) -> dict[str, str]:
    """The flow's cron lines in this project, by schedule. Under a master only the master has one."""
    if (flow == MASTER) != (project.spec.mode == "master"):
        return {}
    return {name: getattr(project.spec.schedules, name) for name in SCHEDULED.get(flow, {})}


def _remove_stale(
    client: SyncPrefectClient, known: dict[str, DeploymentResponse], wanted: list[str], kept: set[str]
) -> None:
    for name, deployment in known.items():
        if name not in wanted and deployment.name not in kept:
            client.delete_deployment(deployment.id)


def main() -> None:
    """Waits for the server, registers, and writes what it did as one line of JSON."""
    settings = Settings()
    try:
        while prefect(settings):
            time.sleep(0.3)
        done = register(settings)
    except KaratError as error:
        sys.exit(str(error))
    print(json.dumps({"deployments": done.deployments, "problems": done.problems}))


if __name__ == "__main__":
    main()
