"""Limits of a request and its answer: size and time of the body, requests at once, time to take the answer."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from karat.errors import BodyTimedOut, BodyTooLong, KaratError, ServiceBusy
from karat.settings import HttpSettings
from serve.api.failures import failure

#: An answer is handed to the connection in pieces of so many bytes, each only when the last one is on its way.
PIECE = 64 << 10
#: How long the rest of a refused body is read, and thrown away.
LINGER_SECONDS = 2.0


class Disconnected(Exception):
    """The caller has gone away in the midst of its body."""


class RequestLimits:
    """ASGI middleware that holds every request to ``HttpSettings``.

    It reads the whole body before the application sees the request: a body that never ends costs its deadline, and no
    request slot. What is refused is answered in the error body of every call.

    Args:
        app: The application.
        limits: The settings.
    """

    def __init__(self, app: ASGIApp, limits: HttpSettings) -> None:
        self._app, self._limits = app, limits
        self._held = self._answering = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = bytearray()
        try:
            await self._read(scope, receive, body)
            if self._answering >= self._limits.requests:
                raise _busy(f"{self._answering} requests are being answered", "KARAT_HTTP__REQUESTS")
            self._answering += 1
            try:
                await self._app(scope, _replay(body, receive), _Answer(self, send).send)
            finally:
                self._answering -= 1
        except (BodyTooLong, BodyTimedOut, ServiceBusy) as error:
            await self._refuse(error, receive, send)
        except Disconnected:
            return
        finally:
            self.release(len(body))

    async def _read(self, scope: Scope, receive: Receive, body: bytearray) -> None:
        """Reads the request's body. Raises BodyTooLong, BodyTimedOut, ServiceBusy, Disconnected."""
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._limits.body_bytes:
            raise _too_long(self._limits)
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Disconnected
                    piece = message.get("body", b"")
                    if len(body) + len(piece) > self._limits.body_bytes:
                        raise _too_long(self._limits)
                    self.hold(len(piece))
                    body += piece
                    if not message.get("more_body", False):
                        return
        except TimeoutError:
            raise BodyTimedOut(
                f"the body did not arrive within {self._limits.body_seconds:g} s: {len(body)} bytes did",
                remedy="send it at once; KARAT_HTTP__BODY_SECONDS allows more time",
            ) from None

    async def _refuse(self, error: KaratError, receive: Receive, send: Send) -> None:
        """Answers, and reads on for a moment: a connection that is closed before is reset, and its answer lost."""
        refused = failure(error)
        refused.headers["connection"] = "close"
        start = {"type": "http.response.start", "status": refused.status_code, "headers": refused.raw_headers}
        await send(start)
        await send({"type": "http.response.body", "body": refused.body, "more_body": True})
        left = 0 if isinstance(error, BodyTimedOut) else self._limits.body_bytes
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while left > 0 and (message := await receive()).get("more_body", False):
                    left -= len(message["body"])
        await send({"type": "http.response.body", "body": b""})

    def hold(self, size: int) -> None:
        """Count bytes that are held in memory. Raises ServiceBusy where they would be too many."""
        if size and self._held + size > self._limits.held_bytes:
            raise _busy(f"{self._held >> 20} MiB of bodies and answers are held", "KARAT_HTTP__HELD_BYTES")
        self._held += size

    def release(self, size: int) -> None:
        """Give back what ``hold`` has counted."""
        self._held -= size

    @property
    def answer_seconds(self) -> float:
        """The time that a caller has to take an answer."""
        return self._limits.answer_seconds


class _Answer:
    """Sends one answer in pieces and in time, and counts a large one among the bytes that are held."""

    def __init__(self, limits: RequestLimits, send: Send) -> None:
        self._limits, self._send = limits, send
        self._start: Message | None = None

    async def send(self, message: Message) -> None:
        """Send an ASGI message. Raises ServiceBusy for a large answer before anything of it is sent."""
        if message["type"] == "http.response.start":
            self._start = message
            return
        body = message.get("body", b"")
        held = len(body) if len(body) > PIECE else 0
        self._limits.hold(held)
        try:
            async with asyncio.timeout(self._limits.answer_seconds):
                if self._start is not None:
                    start, self._start = self._start, None
                    await self._send(start)
                await self._in_pieces(body, message)
        finally:
            self._limits.release(held)

    async def _in_pieces(self, body: bytes, message: Message) -> None:
        for at in range(0, len(body) - PIECE, PIECE):
            await self._send({"type": "http.response.body", "body": body[at : at + PIECE], "more_body": True})
        last = (len(body) - 1) // PIECE * PIECE if body else 0
        await self._send({**message, "body": body[last:]})


def _replay(body: bytearray, receive: Receive) -> Receive:
    """The body as one message; afterwards whatever the connection says."""
    told = False

    async def once() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": bytes(body), "more_body": False}

    return once


def _too_long(limits: HttpSettings) -> BodyTooLong:
    return BodyTooLong(
        f"the body is longer than {limits.body_bytes} bytes",
        remedy="send fewer rows in one call; KARAT_HTTP__BODY_BYTES allows more",
    )


def _busy(what: str, setting: str) -> ServiceBusy:
    return ServiceBusy(f"the service is at its limit: {what}", remedy=f"try again in a moment; {setting} allows more")
