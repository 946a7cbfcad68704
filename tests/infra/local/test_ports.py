from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from infra.local.ports import RAY_BLOCK, check_ports, claims
from karat.errors import PortTaken
from karat.settings import Settings


@pytest.fixture
def taken(settings: Settings) -> Iterator[Settings]:
    """Settings whose MLflow port somebody (this process) listens on."""
    with socket.socket() as server:
        # The server of another test may have closed connections on it a moment ago.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", settings.mlflow_port))
        server.listen()
        yield settings


def test_free_ports_pass(settings: Settings) -> None:
    check_ports(settings)


def test_taken_port_names_port_process_and_setting(taken: Settings) -> None:
    with pytest.raises(PortTaken) as error:
        check_ports(taken)
    text = str(error.value)
    assert str(taken.mlflow_port) in text
    assert f"process {os.getpid()} (" in text
    assert "MLflow" in text
    assert f"KARAT_MLFLOW_PORT={taken.mlflow_port + 100}" in text


def test_port_of_haproxy_taken_on_another_address(settings: Settings) -> None:
    """It binds every address, so it is in the way even where nobody else would notice."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.2", settings.ray_port_base + RAY_BLOCK.index("haproxy_metrics")))
        server.listen()
        with pytest.raises(PortTaken, match="KARAT_RAY_PORT_BASE"):
            check_ports(settings)


def test_one_port_given_twice(settings: Settings) -> None:
    twice = settings.model_copy(update={"serve_port": settings.prefect_port})
    with pytest.raises(PortTaken, match="KARAT_PREFECT_PORT and KARAT_SERVE_PORT"):
        check_ports(twice)


def test_default_ports_do_not_overlap() -> None:
    defaults = Settings.model_construct(**{n: f.default for n, f in Settings.model_fields.items()})
    ports = [claim.port for claim in claims(defaults)] + [defaults.console_port]
    assert len(set(ports)) == len(ports)
    assert not any(10002 <= port <= 19999 for port in ports)
