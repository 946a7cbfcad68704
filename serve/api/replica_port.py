"""The gRPC port of a replica, which Ray 2.60 binds to every interface: bound to the node's address instead."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import ray

#: Ray's module that starts the server; a process that is no replica has not loaded it.
REPLICA = "ray.serve._private.replica"
EVERYWHERE = "[::]:"


def bind_to_node_address() -> None:
    """Have a replica listen where the callers of its own cluster look for it, and nowhere else.

    Ray imports the application before it starts the server, so that a call at import is in time.
    """
    module: Any = sys.modules.get(REPLICA)
    if module is not None and not hasattr(module.add_port_to_grpc_server, "of_ray"):
        module.add_port_to_grpc_server = _at_node_address(module.add_port_to_grpc_server)


def _at_node_address(add_port: Callable[[Any, str], int]) -> Callable[[Any, str], int]:
    def add(server: Any, address: str) -> int:
        if address.startswith(EVERYWHERE):
            address = f"{ray.util.get_node_ip_address()}:{address.removeprefix(EVERYWHERE)}"
        return add_port(server, address)

    add.of_ray = add_port  # type: ignore[attr-defined]
    return add
