"""The guard in front of MLflow's, Prefect's and the inference pages: host, origin, and a login where there is one."""

from __future__ import annotations

import hmac
import json
import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Iterable
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from karat.credentials import Login
from karat.settings import Settings

LOOPBACK = ("127.0.0.1", "localhost", "::1")
#: What a probe may ask without a login.
HEALTH = ("/health",)
REGISTRAR_HEADER = "x-karat-registrar"


#: At Prefect, all that says which program a run is: deployments and work pools themselves, not their runs or schedules.
WHAT_RUNS = re.compile(
    r"(POST /api/(deployments|work_pools)|(PATCH|PUT|DELETE) /api/(deployments|work_pools)/[^/]+)/?", re.IGNORECASE
)


class AccessGuard:
    """ASGI middleware that refuses a request before the application sees it.

    403 where the request names another host (a page whose name resolves to this machine), was sent by a page of another
    origin, or says what runs without being the registrar. 401 where ``login`` is missing from it.

    Args:
        app: The application behind it.
        hosts: Names that the server is called by; empty: any.
        login: What a request must bring, as HTTP basic authentication.
        registrar: What a request of ``WHAT_RUNS`` must bring in the header ``REGISTRAR_HEADER``.
        open_paths: Paths that need no login.
    """

    def __init__(
        self,
        app: ASGIApp,
        hosts: Iterable[str],
        login: Login | None = None,
        *,
        registrar: str | None = None,
        open_paths: Iterable[str] = HEALTH,
    ) -> None:
        self.app = app
        self.hosts = frozenset(host.lower() for host in hosts)
        self.login = login.text.encode() if login else None
        self.registrar = registrar.encode() if registrar else None
        self.open_paths = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with its refusal."""
        refused = self._refusal(scope) if scope["type"] in ("http", "websocket") else None
        if refused is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose(code=1008, reason=refused[1])(scope, receive, send)
        else:
            await _answer(*refused)(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[HTTPStatus, str] | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self.hosts and _name(host) not in self.hosts:
            return HTTPStatus.FORBIDDEN, "this server is not called by that name: KARAT_ALLOWED_HOSTS adds one"
        if not _same_origin(headers, host):
            return HTTPStatus.FORBIDDEN, "a page of another origin may not call this server"
        if self.registrar and _says_what_runs(scope) and not _is_registrar(headers, self.registrar):
            return HTTPStatus.FORBIDDEN, "deployments are registered from projects/ by karat up"
        if self.login is None or scope["path"] in self.open_paths or _brings(headers, self.login):
            return None
        return HTTPStatus.UNAUTHORIZED, "a login is needed: karat open shows it"


def allowed_hosts(settings: Settings) -> tuple[str, ...]:
    """The names that this platform's servers are called by; () where they listen on every address."""
    if settings.host in ("0.0.0.0", "::"):
        return ()
    more = (name.strip() for name in settings.allowed_hosts.split(","))
    return tuple(dict.fromkeys((settings.host, *LOOPBACK, *filter(None, more))))


def _says_what_runs(scope: Scope) -> bool:
    """However the slashes of its path are written."""
    asked = f"{scope.get('method', 'GET')} {re.sub('/+', '/', scope['path'])}"
    return WHAT_RUNS.fullmatch(asked) is not None


def _name(authority: str) -> str:
    """The host of ``host:port``, in lower case; "" where it is none."""
    try:
        return urlsplit(f"//{authority}").hostname or ""
    except ValueError:
        return ""


def _same_origin(headers: Headers, host: str) -> bool:
    """Whether no browser says that another page sent it. Following a link to a page is no such case."""
    if (origin := headers.get("origin")) is not None:
        return urlsplit(origin).netloc.lower() == host.lower() != ""
    if headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
        return True
    return headers.get("sec-fetch-mode") == "navigate"


def _is_registrar(headers: Headers, token: bytes) -> bool:
    return hmac.compare_digest(headers.get(REGISTRAR_HEADER, "").encode("latin-1"), token)


def _brings(headers: Headers, login: bytes) -> bool:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        return hmac.compare_digest(b64decode(given, validate=True), login)
    except (NotBase64, ValueError):
        return False


def _answer(status: HTTPStatus, why: str) -> Response:
    headers = {"www-authenticate": 'Basic realm="karat"'} if status is HTTPStatus.UNAUTHORIZED else {}
    # MLflow's client shows both fields.
    body = json.dumps({"error_code": "UNAUTHENTICATED" if headers else "PERMISSION_DENIED", "message": why})
    return Response(body, status, headers, "application/json")
