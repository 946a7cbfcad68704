"""A server belongs to a home if it serves the token of the home's own folder."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from infra.local import probes
from karat.errors import ServiceDown
from karat.home import home_token, server_of_home
from karat.registry import open_registry, open_server
from karat.settings import Settings


class Artifacts(SimpleHTTPRequestHandler):
    """Serves a folder as MLflow serves its artifacts; answers every other path with OK."""

    def do_GET(self) -> None:
        prefix = "/api/2.0/mlflow-artifacts/artifacts/"
        if self.path.startswith(prefix):
            self.path = "/" + self.path.removeprefix(prefix)
            super().do_GET()
        else:
            self.send_response(200)
            self.end_headers()

    def log_message(self, format: str, *args: object) -> None: ...


class Anything(BaseHTTPRequestHandler):
    """Answers OK to everything."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"OK")

    def log_message(self, format: str, *args: object) -> None: ...


@contextmanager
def listening(port: int, handler: object) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)  # type: ignore[arg-type]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def artifacts(settings: Settings) -> Path:
    folder = settings.home / "mlflow" / "artifacts"
    folder.mkdir(parents=True)
    return folder


def test_the_registry_of_this_home_is_taken_and_another_one_is_not(settings: Settings, artifacts: Path, tmp_path: Path):
    with listening(settings.mlflow_port, partial(Artifacts, directory=str(artifacts))):
        assert open_registry(settings).tracking_uri == settings.mlflow_url
        assert open_server(settings).tracking_uri == settings.mlflow_url
        assert probes.mlflow(settings) == ""
    own = f"sqlite:///{settings.home}"
    assert open_registry(settings).tracking_uri.startswith(own)
    other = shutil.copytree(artifacts, tmp_path / "other")  # as where a whole home was copied
    home_token(other)  # as karat up does before its MLflow starts
    for handler in (partial(Artifacts, directory=str(other)), Anything):
        with listening(settings.mlflow_port, handler):
            assert open_registry(settings).tracking_uri.startswith(own)
            with pytest.raises(ServiceDown, match="does not belong to this home"):
                open_server(settings)
            assert "another home" in probes.mlflow(settings)


def test_a_copied_home_gets_a_token_of_its_own(artifacts: Path, tmp_path: Path):
    with listening(0, partial(Artifacts, directory=str(artifacts))) as url:
        assert server_of_home(url, artifacts)
        copy = shutil.copytree(artifacts, tmp_path / "copy")
        assert not server_of_home(url, copy)
        assert server_of_home(url, artifacts)
        moved = shutil.move(artifacts, tmp_path / "moved")
    with listening(0, partial(Artifacts, directory=str(moved))) as url:
        assert server_of_home(url, moved)
