"""Prefect's work pool, closed: a run chooses its parameters, never a command, an environment or a folder."""

from __future__ import annotations

import contextlib
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectAlreadyExists

from infra.code import ROOT
from infra.local.forks import flow_command
from infra.local.platform_parts import WORK_POOL
from karat.settings import Settings

#: Prefect's own template of a process pool takes ``command``, ``env`` and ``working_dir`` from whoever starts a run.
#: Without ``env`` in the configuration, a run's ``env`` has no place to go either.
VARIABLES: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}


def job_template(settings: Settings) -> dict[str, Any]:
    """The pool's closed template: what starts the process of each run."""
    # A run would end with its worker if it wrote to a pipe of it; its lines are in Prefect.
    fixed = {"working_dir": str(ROOT), "stream_output": False, "command": flow_command(settings)}
    return {"job_configuration": fixed, "variables": VARIABLES}


def ensure_work_pool(client: SyncPrefectClient, settings: Settings) -> None:
    """Create the pool, or bring one that is there to the closed template."""
    template = job_template(settings)
    with contextlib.suppress(ObjectAlreadyExists):
        client.create_work_pool(
            WorkPoolCreate(
                name=WORK_POOL,
                type="process",
                description="Karat's flow runs, as processes of this host",
                base_job_template=template,
            )
        )
        return
    if client.read_work_pool(WORK_POOL).base_job_template != template:
        client.update_work_pool(WORK_POOL, WorkPoolUpdate(base_job_template=template))
