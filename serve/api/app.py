"""Ray Serve application ``serve.api.app:build``; its ``user_config`` says which model versions answer."""

from __future__ import annotations

import asyncio
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
from serve.api.limits import RequestLimits
from serve.api.replica_port import bind_to_node_address
from serve.api.routes import ASSETS, router

bind_to_node_address()
#: What a probe may ask without a login.
OPEN = ("/health", "/api/ml/health")
#: What can't be loaded in this time is loaded while the replica answers for the rest.
SETTLE_SECONDS = 60.0


def make_app(champions: Champions) -> FastAPI:
    """The HTTP face of ``champions``, the same under ``/`` and under ``/api/ml``."""
    app = FastAPI(title="Karat inference", version="1", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.champions = champions
    app.add_middleware(RequestLimits, limits=champions.settings.http)
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
    # As many as HAProxy has connections: a request counts from its first byte on, and one whose body never comes must
    # not keep the others out. RequestLimits bounds those that are answered at once.
    max_ongoing_requests=4096,
    # A replica that was killed is replaced once it misses a check.
    health_check_period_s=2,
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

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Take over a new ``user_config``: registered model -> version.

        Serve sends a new replica requests, and counts an old one as up to date, once this returns. Requests go on
        meanwhile.
        """
        self.champions.want(user_config.get("champions", {}))
        await asyncio.to_thread(self.champions.settle, SETTLE_SECONDS)


def build(arguments: dict[str, Any]) -> serve.Application:
    """What Serve's configuration imports."""
    made: serve.Application = Api.bind()  # type: ignore[attr-defined]
    return made
