"""MLflow's page opens on model training: a browser that has not chosen yet gets the choice of a training platform.

MLflow keeps the choice in the browser's local storage, and has no setting of the server for it. A choice that somebody
has made in the page stays.
"""

from __future__ import annotations

import json

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: MLflow's keys in the browser's local storage -> the value of a browser that has none: the page "Model training"
#: (not GenAI), and an assistant that does not open by itself.
CHOICES = {
    "mlflow.workflowType_v1": "machine_learning",
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": True,
    "mlflow.home.getting-started.collapsed_v1": True,
}
_SCRIPT = (
    f"<script>for(const[k,v]of Object.entries({json.dumps(CHOICES)}))"
    "try{localStorage.getItem(k)===null&&localStorage.setItem(k,JSON.stringify(v))}catch(e){}</script>"
)


class TrainingPage:
    """ASGI middleware that adds the choices to MLflow's one page; all other answers pass unchanged.

    Args:
        app: MLflow.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"] != "/":
            await self.app(scope, receive, send)
            return
        # A page that a browser has kept lacks the choices, so MLflow may not answer that it is unchanged.
        headers = [(k, v) for k, v in scope["headers"] if k not in (b"if-none-match", b"if-modified-since")]
        page = _Page(send)
        await self.app({**scope, "headers": headers}, receive, page.collect)


class _Page:
    """Holds an answer back until it is whole, and sends it with the script at the top of its head."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._body = b""
        self._start: Message = {}

    async def collect(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        if message["type"] != "http.response.body":
            await self._send(message)
            return
        self._body += message.get("body", b"")
        if message.get("more_body"):
            return
        headers = MutableHeaders(raw=list(self._start["headers"]))
        body = self._body
        if _is_plain_html(headers):
            body = body.replace(b"<head>", b"<head>" + _SCRIPT.encode(), 1)
            headers["content-length"] = str(len(body))
            for name in ("etag", "last-modified"):
                del headers[name]
        await self._send({**self._start, "headers": headers.raw})
        await self._send({**message, "body": body, "more_body": False})


def _is_plain_html(headers: Headers) -> bool:
    return headers.get("content-type", "").startswith("text/html") and "content-encoding" not in headers
