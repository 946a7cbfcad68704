"""``ray start`` without its client server, which runs any code that it is sent, and with our start of its agent.

Beside it runs the fork server, from which Ray's workers are forked.
"""

from __future__ import annotations

import sys
import time

from psutil import Process
from ray._private import ray_constants, services
from ray.scripts import scripts

from infra.local import fork_client
from infra.local.forks import await_fork_server, start_fork_server
from karat.settings import Settings

#: The longest wait for a new node.
NODE_SECONDS = 180.0
start_raylet = vars(services)["start_raylet"]
get_node = vars(services)["get_node"]
python_command = vars(services)["_build_python_executable_command_memory_profileable"]


def command_of(component: str, *arguments: object, **options: object) -> list[str]:
    """What Ray starts one of its Python processes with; its agent by way of ``infra.local.ray_agent``."""
    command: list[str] = python_command(component, *arguments, **options)
    is_agent = component == ray_constants.PROCESS_TYPE_DASHBOARD_AGENT
    return [*command, "-m", "infra.local.ray_agent"] if is_agent else command


def begin_raylet(*arguments: object, **options: object) -> object:
    """Start the raylet when nothing here imports any more: it ends itself if its agent takes more than 15 s to come."""
    await_fork_server(Settings())
    return start_raylet(*arguments, **options)


def node_of(*arguments: object) -> object:
    """What Ray asks for until its new node is there; it gives up after 30 s, and would begin anew on a busy machine."""
    deadline = time.monotonic() + NODE_SECONDS
    while True:
        try:
            return get_node(*arguments)
        except RuntimeError:
            if time.monotonic() > deadline or not any(child.name() == "raylet" for child in Process().children()):
                raise
            time.sleep(0.2)


def main() -> None:
    """Run ``ray start`` with this process's arguments."""
    if not any(argument.startswith("--ray-client-server-port") for argument in sys.argv):
        vars(scripts)["get_ray_client_dependency_error"] = lambda: ImportError("left off")
    server = start_fork_server(Settings())  # it lives as long as this process holds its pipe
    ray_constants.SETUP_WORKER_FILENAME = fork_client.__file__
    vars(services)["_build_python_executable_command_memory_profileable"] = command_of
    vars(services)["start_raylet"] = begin_raylet
    vars(services)["get_node"] = node_of
    scripts.main()
    server.wait()


if __name__ == "__main__":
    main()
