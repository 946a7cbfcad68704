"""A Prefect automation that ends flow runs whose process was killed, once their heartbeats stop."""

from __future__ import annotations

from datetime import timedelta

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

NAME = "karat: flow runs without heartbeat"
HEARTBEAT = "prefect.flow-run.heartbeat"
RUNNING = "prefect.flow-run.Running"
#: Three heartbeats missed: one may be late on a busy machine.
PATIENCE = timedelta(seconds=100)
OVER = ("Completed", "Failed", "Cancelled", "Crashed", "Paused", "Suspended", "Retrying", "AwaitingRetry")


def automation() -> AutomationCore:
    """After its begin or a heartbeat, neither another heartbeat nor an end: the run is set to Crashed."""
    return AutomationCore(
        name=NAME,
        description="Sets a flow run to Crashed when its process is gone.",
        trigger=EventTrigger(
            after={RUNNING, HEARTBEAT},
            expect={HEARTBEAT, *(f"prefect.flow-run.{state}" for state in OVER)},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=PATIENCE,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED, message="The process of this run has ended or hangs: it sends no heartbeats."
            )
        ],
    )


def register_zombie_automation(client: SyncPrefectClient) -> None:
    """Creates the automation, once, and replaces one that an earlier release has made."""
    wanted, known = automation(), client.read_automations_by_name(NAME)
    same = [a for a in known if _kind(a) == _kind(wanted)]
    for other in known:
        if other not in same[:1]:
            client.delete_automation(other.id)
    if not same:
        client.create_automation(wanted)


def _kind(found: AutomationCore) -> tuple[object, ...]:
    """What of an automation decides what it does; its server adds ids and defaults of its own."""
    trigger = found.trigger
    events = (trigger.after, trigger.expect, trigger.within) if isinstance(trigger, EventTrigger) else ()
    return (found.enabled, *events, [getattr(action, "message", None) for action in found.actions])
