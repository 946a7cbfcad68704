"""Error responses: 422, 404 or 503, each with its reason; never 500."""

from __future__ import annotations

import json
import logging
import uuid
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from karat.errors import (
    BodyTimedOut,
    BodyTooLong,
    FeaturesMissing,
    InvalidRequest,
    KaratError,
    NotFound,
    SequenceTooShort,
    UnknownModel,
    WrongCall,
    did_you_mean,
    shorten,
)

log = logging.getLogger("karat.serve")
#: How many wrong fields a 422 lists.
MOST_DETAILS = 20
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def failure(error: Exception, request: Request | None = None) -> Response:
    """Turn an error into a response.

    An unforeseen error is 503, so that a caller tries again. It is logged under an id that the response names, and
    nothing of it is shown.
    """
    if isinstance(error, HTTPException) and isinstance(error.__cause__, KaratError):
        error = error.__cause__  # FastAPI makes this of whatever happens while it reads a body
    if isinstance(error, RequestValidationError):
        found = error.errors()[:MOST_DETAILS]
        detail = [{"loc": list(e["loc"]), "msg": e["msg"], "type": e["type"]} for e in found]
        what, where, remedy = _first(detail[0])
        return _answer(422, "InvalidRequest", what, where, remedy, detail=detail)
    if isinstance(error, InvalidRequest):
        detail = [{"loc": ["body", *filter(None, error.where.split("."))], "msg": error.what, "type": "value_error"}]
        status = 413 if isinstance(error, BodyTooLong) else 408 if isinstance(error, BodyTimedOut) else 422
        return _answer(status, type(error).__name__, error.what, error.where, error.remedy, detail=detail)
    if isinstance(error, HTTPException):
        status = 422 if error.status_code == 400 else error.status_code
        if request is not None and status in (404, 405):
            return _routing_failure(request, status, error.headers)
        remedy = "correct the request; /docs shows every call"
        name = "InvalidRequest" if status == 422 else "HTTPError"
        return _answer(status, name, str(error.detail), _called(request), remedy)
    if isinstance(error, KaratError):
        status = (
            404
            if isinstance(error, NotFound | UnknownModel)
            else 422
            if isinstance(error, WrongCall | SequenceTooShort | FeaturesMissing)
            else 503
        )
        if status == 503:
            log.warning("%s", error)
        return _answer(status, type(error).__name__, error.what, error.where, error.remedy)
    error_id = uuid.uuid4().hex[:12]
    log.error("error %s", error_id, exc_info=error)
    return _answer(
        503,
        "Unexpected",
        "the request could not be answered",
        "",
        f"try again; the service's log says why under {error_id}",
        error_id=error_id,
    )


def _called(request: Request | None) -> str:
    return f"{request.method} {request.url.path}" if request is not None else ""


def _routing_failure(request: Request, status: int, headers: Mapping[str, str] | None) -> Response:
    """An address that does not exist, with the nearest one; a method that it does not take, with those that it does."""
    if status == 405:
        allowed = (headers or {}).get("Allow", "")
        what = f"{request.url.path} does not take {request.method}"
        return _answer(
            405, "MethodNotAllowed", what, _called(request), f"call it by {allowed}" if allowed else "see /docs"
        )
    near = did_you_mean(request.url.path, request.app.state.paths)
    return _answer(404, "NotFound", f"there is no address {request.url.path}", _called(request), near or "see /docs")


def _first(detail: dict[str, Any]) -> tuple[str, str, str]:
    """What, where and remedy of the first field that Pydantic has refused."""
    place = [str(part) for part in detail["loc"] if part != "body"]
    if detail["type"] == "json_invalid":
        return "the body is not JSON", f"character {place[0]}" if place else "", "send a JSON object"
    if not place:
        return "the body is not a JSON object", "", "send one, with the header content-type: application/json"
    if detail["type"] == "timezone_aware":
        return "the moment has no time zone", ".".join(place), "write it as in 2026-01-15T10:30:00Z, or give a date"
    return detail["msg"], ".".join(place), "correct that field; /docs shows the request"


def _answer(
    status: int,
    error: str,
    what: str,
    where: str = "",
    remedy: str = "",
    *,
    detail: list[dict[str, Any]] | None = None,
    error_id: str | None = None,
) -> Response:
    body = {"error": error, "what": what, "where": where, "remedy": remedy, "detail": detail or []}
    headers = {"Retry-After": "1"} if status == 503 else None
    return JSONResponse(_printable({**body, "error_id": error_id}), status_code=status, headers=headers)


def _printable(value: Any) -> Any:
    """What a request has brought, in lines of a bounded length, with neither line breaks nor halves of characters."""
    if isinstance(value, dict):
        return {k: _printable(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_printable(v) for v in value]
    if not isinstance(value, str):
        return value
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in shorten(value.replace("\n", " ")))


class StrictRequest(Request):
    """A request whose JSON may name each field once: what a second value means, no two parsers agree on."""

    async def json(self) -> Any:
        """Parse the body. Raises JSONDecodeError, InvalidRequest for a field that is there twice."""
        return json.loads(await self.body(), object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise InvalidRequest(f"the field {twice!r} is there twice", where=twice, remedy="give it once")
    return found


class Route(APIRoute):
    """A route in which no exception gets through to the server."""

    def get_route_handler(self) -> Handler:
        """Wrap the handler so that every exception becomes an answer."""
        handler = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                return await handler(StrictRequest(request.scope, request.receive))
            except Exception as error:  # the last one that can turn it into an answer
                return failure(error)

        return guarded


def handle_failures(app: FastAPI, paths: Sequence[str]) -> None:
    """For what happens outside of routes: unknown addresses, of which ``paths`` are known ones, and wrong methods."""
    app.state.paths = tuple(paths)

    async def answer(request: Request, error: Exception) -> Response:
        return failure(error, request)

    for kind in (RequestValidationError, HTTPException, KaratError):
        app.add_exception_handler(kind, answer)
