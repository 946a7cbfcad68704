"""HTTP routes of the inference interface."""

from __future__ import annotations

import asyncio
import json
import math
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse, Response

from karat.errors import InvalidRequest, StoreUnreachable
from serve.api.bodies import Answer, FeaturesAnswer, FeaturesBody, Health, ModelHealth, PredictBody, Wrong
from serve.api.champions import Champions, normalised
from serve.api.failures import Route

if TYPE_CHECKING:
    from serve.api.loaded_model import LoadedVersion

#: How long a request waits for its model, which is just being loaded, and how often it looks.
LOADING_SECONDS, LOADING_PAUSE = 20.0, 0.02
_WRONG: dict[int | str, dict[str, Any]] = {
    422: {"model": Wrong, "description": "a field is wrong; `detail` names it and the reason"},
    404: {"model": Wrong, "description": "no such model, or no lookup knows the entity"},
    503: {"model": Wrong, "description": "a store is out of reach, or the model is not loaded yet"},
}
_ENCODER = json.JSONEncoder(allow_nan=False)
#: Where the OpenAPI page's script and style are served: many networks have no way to the CDN that FastAPI names.
ASSETS = "/docs-assets"
router = APIRouter(route_class=Route)


def _champions(request: Request) -> Champions:
    champions: Champions = request.app.state.champions
    return champions


@router.post("/v1/predict/{model}", responses={200: {"model": Answer}, **_WRONG}, tags=["predict"])
async def predict(model: str, body: PredictBody, request: Request) -> Response:
    """The prediction of a model for one entity; features are looked up, those in the request override them.

    `model` is `project.model`, or the model's bare name where only one project has it.
    """
    served = await _served(request, model)
    if body.prediction_type is not None and normalised(body.prediction_type) != normalised(served.name.name):
        raise InvalidRequest(
            f"the prediction type {body.prediction_type!r} is not the model {served.name.name!r}",
            where="prediction_type",
            remedy="leave it out, or ask its own address",
        )
    fields = body.fields()
    # What takes long, a scan of the lake above all, must not hold up the other requests.
    if served.at_once(fields):
        return _json(served.answer(fields))
    return _json(await run_in_threadpool(served.answer, fields))


async def _served(request: Request, model: str) -> LoadedVersion:
    """The loaded version. One that is just being loaded is waited for: its caller gets an answer, and no 503."""
    champions, deadline = _champions(request), time.monotonic() + LOADING_SECONDS
    while True:
        try:
            return champions.find(model)
        except StoreUnreachable:
            if not champions.is_loading(model) or time.monotonic() > deadline:
                raise
        await asyncio.sleep(LOADING_PAUSE)


@router.post("/v1/features", responses={200: {"model": FeaturesAnswer}, **_WRONG}, tags=["features"])
async def features(body: FeaturesBody, request: Request) -> Response:
    """Read feature values and statuses for many entities at once, without a model.

    What is known now comes from the online store, what was known at a past `as_of_date` from the offline store. An
    entity that a table does not know is NOT_FOUND; where no table knows any of the entities the answer is 404.
    """
    # What reads the stores takes seconds to import: this replica is ready before that.
    answer = import_module("serve.api.features").answer
    return _json(await run_in_threadpool(answer, _champions(request).settings, body))


def _json(value: object) -> Response:
    try:
        text = _ENCODER.encode(value)
    except ValueError:
        text = _ENCODER.encode(_finite(value))
    return Response(text, media_type="application/json")


def _finite(value: object) -> object:
    """JSON has no NaN and no infinity: they become null."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@router.get("/v1/models", tags=["models"])
async def models(request: Request) -> Response:
    """Every champion: the version that is wanted and the one that is loaded, its run, metrics, keys and features."""
    return _json({"models": _champions(request).describe()})


@router.get("/v1/models/{model}/health", responses={200: {"model": ModelHealth}, **_WRONG}, tags=["models"])
async def model_health(model: str, request: Request) -> Response:
    """How a model does, as this replica has counted since it loaded the version."""
    return _json(_champions(request).find(model).health())


@router.get("/health", responses={200: {"model": Health}}, tags=["health"])
async def health(request: Request) -> Response:
    """Alive if it answers; `ready` once every champion is loaded."""
    states = [str(m["status"]) for m in _champions(request).describe()]
    loaded, failed = states.count("ready"), states.count("failed")
    counts = {"models": len(states), "loaded": loaded, "failed": failed}
    return _json({"status": "healthy", "ready": loaded == len(states), **counts})


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """The OpenAPI page, beside the description that belongs to its address; it loads nothing from elsewhere."""
    base = request.url.path.removesuffix("/docs")
    return get_swagger_ui_html(
        openapi_url=f"{base}/openapi.json",
        title="Karat inference",
        swagger_js_url=f"{base}{ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{base}{ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{base}{ASSETS}/favicon.png",
    )


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> Response:
    """Serve the OpenAPI description, with examples that have an answer."""
    champions = _champions(request)
    examples = import_module("serve.api.examples")  # it reads the stores, as the answers do
    predictions = await run_in_threadpool(champions.examples)
    features = await run_in_threadpool(examples.features_example, champions.settings)
    return _json(examples.with_examples(request.app.openapi(), predictions, features))
