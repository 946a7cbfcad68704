"""Prefect's work pool, closed: a run chooses its parameters, never a command, an environment or a folder."""

from __future__ import annotations

import contextlib
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectAlreadyExists

from infra.code import ROOT
from infra.local.platform_parts import WORK_POOL

#: Prefect's own template of a process pool takes ``command``, ``env`` and ``working_dir`` from whoever starts a run.
#: Without ``env`` in the configuration, a run's ``env`` has no place to go either.
JOB_TEMPLATE: dict[str, Any] = {
    # A run would end with its worker if it wrote to a pipe of it; its lines are in Prefect.
    "job_configuration": {"working_dir": str(ROOT), "stream_output": False},
    "variables": {"type": "object", "properties": {}, "additionalProperties": False},
}


def ensure_work_pool(client: SyncPrefectClient) -> None:
    """Create the pool, or bring one that is there to the closed template."""
    with contextlib.suppress(ObjectAlreadyExists):
        client.create_work_pool(
            WorkPoolCreate(
                name=WORK_POOL,
                type="process",
                description="Karat's flow runs, as processes of this host",
                base_job_template=JOB_TEMPLATE,
            )
        )
        return
    if client.read_work_pool(WORK_POOL).base_job_template != JOB_TEMPLATE:
        client.update_work_pool(WORK_POOL, WorkPoolUpdate(base_job_template=JOB_TEMPLATE))
