"""Ray Serve application ``serve.api.app:build``; its ``user_config`` says which model versions answer."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles
from ray import serve
from starlette.types import ASGIApp

from infra.local.access import AccessGuard, allowed_hosts
from karat.credentials import api_login
from karat.settings import Settings
from serve.api.champions import Champions
from serve.api.failures import handle_failures
from serve.api.replica_port import bind_to_node_address
from serve.api.routes import ASSETS, router

bind_to_node_address()
#: What a probe may ask without a login.
OPEN = ("/health", "/api/ml/health")


def make_app(champions: Champions) -> FastAPI:
    """The HTTP face of ``champions``, the same under ``/`` and under ``/api/ml``."""
    app = FastAPI(title="Karat inference", version="1", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.champions = champions
    app.include_router(router)
    app.include_router(router, prefix="/api/ml", include_in_schema=False)
    for prefix in ("", "/api/ml"):
        app.mount(prefix + ASSETS, StaticFiles(packages=[("fastapi_offline", "static")]))
    handle_failures(app, [route.path for route in router.routes if isinstance(route, APIRoute)])
    return app


@serve.deployment(
    name="Api",
    # It reserves nothing: of two CPUs, 0.1 would leave room for one training task of a CPU instead of two.
    ray_actor_options={"num_cpus": 0},
    max_ongoing_requests=256,
    health_check_period_s=5,
)
@serve.ingress()
class Api:
    """One replica. A new ``user_config`` is taken over while requests go on."""

    def __init__(self) -> None:
        self.champions = Champions(Settings())

    def __serve_build_asgi_app__(self) -> ASGIApp:
        settings = self.champions.settings
        return AccessGuard(make_app(self.champions), allowed_hosts(settings), api_login(settings), open_paths=OPEN)

    def __del__(self) -> None:
        """Serve calls it when the replica ends: what waits to be logged is written."""
        if hasattr(self, "champions"):
            self.champions.close()

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Take over a new ``user_config``: registered model -> version."""
        self.champions.want(user_config.get("champions", {}))


def build(arguments: dict[str, Any]) -> serve.Application:
    """What Serve's configuration imports."""
    made: serve.Application = Api.bind()  # type: ignore[attr-defined]
    return made
