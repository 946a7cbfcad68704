"""``ray start`` without its client server, which nobody needs and which runs any code that it is sent."""

from __future__ import annotations

import sys

from ray.scripts import scripts


def main() -> None:
    """Run ``ray start`` with this process's arguments."""
    if not any(argument.startswith("--ray-client-server-port") for argument in sys.argv):
        vars(scripts)["get_ray_client_dependency_error"] = lambda: ImportError("left off")
    scripts.main()


if __name__ == "__main__":
    main()
