"""``ray start`` without its client server, which nobody needs and which runs any code that it is sent.

Beside it runs the fork server, from which Ray's workers are forked.
"""

from __future__ import annotations

import sys

from ray._private import ray_constants
from ray.scripts import scripts

from infra.local import fork_client
from infra.local.forks import start_fork_server
from karat.settings import Settings


def main() -> None:
    """Run ``ray start`` with this process's arguments."""
    if not any(argument.startswith("--ray-client-server-port") for argument in sys.argv):
        vars(scripts)["get_ray_client_dependency_error"] = lambda: ImportError("left off")
    server = start_fork_server(Settings())  # it lives as long as this process holds its pipe
    ray_constants.SETUP_WORKER_FILENAME = fork_client.__file__
    scripts.main()
    server.wait()


if __name__ == "__main__":
    main()
