"""Hooks of cancelled and failed runs; Prefect calls them with exactly these argument names."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from prefect import Flow
from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.core import Block
from prefect.blocks.webhook import Webhook
from prefect.client.schemas.objects import FlowRun, State
from prefect.utilities.asyncutils import run_coro_as_sync

from infra.jobs import Jobs
from infra.local.environment import use_platform
from karat.settings import Settings

log = logging.getLogger("prefect.flow_runs")

#: A block of one of these types under this name receives every failed run (docs/notifications.md).
BLOCK_NAME = "karat-failures"
BLOCK_TYPES = (
    "sendgrid-email",
    "slack-webhook",
    "ms-teams-webhook",
    "mattermost-webhook",
    "discord-webhook",
    "custom-webhook",
    "webhook",
)


def stop_jobs(flow: Flow[..., object], flow_run: FlowRun, state: State[object]) -> None:
    """on_cancellation: stop the jobs of this run and of its pipelines. Runs in the worker's process."""
    settings = Settings()
    use_platform(settings)
    stopped = Jobs(settings).stop_all(str(flow_run.id))
    log.info("stopped with the run: %s", ", ".join(stopped) or "no job was running")


def notify(flow: Flow[..., object], flow_run: FlowRun, state: State[object]) -> None:
    """on_failure, on_crashed: notify of the run that was started, not of each pipeline within it."""
    if flow_run.parent_task_run_id is not None:
        return
    subject = f"Karat: {flow.name} of {flow_run.parameters.get('project', '?')}: {state.name}"
    message = state.message or subject
    for block in _blocks():
        if isinstance(block, NotificationBlock):
            pending = block.notify(message, subject)
            if pending is not None:
                run_coro_as_sync(pending)
        elif isinstance(block, Webhook):
            run_coro_as_sync(block.call({"subject": subject, "flow_run": str(flow_run.id), "message": message}))


def _blocks() -> Iterator[Block]:
    for kind in BLOCK_TYPES:
        try:
            found = Block.load(f"{kind}/{BLOCK_NAME}")
        except ValueError:  # neither such a block nor, on a young server, such a type
            continue
        if isinstance(found, Block):
            yield found


HOOKS: dict[str, Any] = {"on_cancellation": [stop_jobs], "on_failure": [notify], "on_crashed": [notify]}
