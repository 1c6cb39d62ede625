"""Limit request bodies by the bytes actually received, with idle and total timeouts."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wav2lip.serve.error_handlers import error_response
from wav2lip.serve.job_requests import MAX_FILES
from wav2lip.serve.settings import MIB, Settings

IDLE_TIMEOUT_S = 30.0
DRAIN_TIMEOUT_S = 2.0  # reading the rest of a rejected body
MAX_DRAIN_BYTES = 16 * MIB
MAX_FIELD_BYTES = MIB  # total of a request besides its files
CLOSE = {"Connection": "close"}
DISCONNECT: Message = {"type": "http.disconnect"}


class BodyLimitMiddleware:
    """ASGI middleware for every route, including those of the web page."""

    def __init__(self, app: ASGIApp, settings: Settings, stored_bytes: Callable[[], int]):
        """stored_bytes: returns the disk space in use."""
        self._app, self._stored_bytes = app, stored_bytes
        self._max_multipart_bytes = MAX_FILES * settings.upload_mib * MIB + MAX_FIELD_BYTES
        self._disk_bytes = settings.disk_mib * MIB
        self._timeout_s = settings.upload_seconds
        self._incoming_bytes = 0  # total of all bodies in transit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        content_length = headers.get("content-length", "0")
        is_multipart = headers.get("content-type", "").lower().startswith("multipart/form-data")
        max_bytes = self._max_multipart_bytes if is_multipart else MAX_FIELD_BYTES
        stored_bytes = self._stored_bytes if is_multipart else None
        body = _LimitedBody(receive, send, max_bytes, self._timeout_s, self._reserve, stored_bytes)
        body.is_complete = content_length == "0" and "transfer-encoding" not in headers
        if content_length.isdecimal() and int(content_length) > body.max_bytes:
            await _respond_and_drain(body.too_large(), scope, receive, send)
            return
        try:
            await self._app(scope, body.receive, body.send)
        except Exception:  # the application may raise any exception on the disconnect of a rejected body
            if body.rejection is None:
                raise
        finally:
            self._incoming_bytes -= body.size
        if body.rejection is not None and not body.has_response:
            await _respond_and_drain(body.rejection, scope, receive, send)

    def _reserve(self, size: int, stored_bytes: int) -> bool:
        """Count received bytes; False if all incoming and stored bytes exceed the disk limit."""
        self._incoming_bytes += size
        return stored_bytes + self._incoming_bytes <= self._disk_bytes


class _LimitedBody:
    """Body of one request; after a rejection the application receives a disconnect and its response is dropped."""

    def __init__(
        self, receive: Receive, send: Send, max_bytes: int, timeout_s: float, reserve: Callable[[int, int], bool],
        read_stored_bytes: Callable[[], int] | None,
    ):  # fmt: skip
        """read_stored_bytes: None for a body without files, which is accepted even if the disk is full."""
        self._receive, self._send, self._reserve = receive, send, reserve
        self._read_stored_bytes = read_stored_bytes
        self._stored_bytes = 0
        self._deadline = time.monotonic() + timeout_s
        self.max_bytes = max_bytes
        self.size = 0  # bytes received
        self.is_complete = False
        self.has_response = False
        self.rejection: JSONResponse | None = None  # sent instead of the application's response

    def too_large(self) -> JSONResponse:
        return error_response(413, f"the request exceeds {self.max_bytes >> 20} MiB; send less", CLOSE)

    async def receive(self) -> Message:
        if self.is_complete:
            return await self._receive()
        if self.rejection is not None:
            return DISCONNECT
        if self._read_stored_bytes is not None:  # lazily, so that unauthorized requests cause no disk access
            self._stored_bytes, self._read_stored_bytes = await run_in_threadpool(self._read_stored_bytes), None
        try:
            remaining_s = max(0.0, self._deadline - time.monotonic())
            message = await asyncio.wait_for(self._receive(), min(IDLE_TIMEOUT_S, remaining_s))
        except TimeoutError:
            self.rejection = error_response(408, "timeout while receiving the request; send it again", CLOSE)
            return DISCONNECT
        if message["type"] != "http.request":
            return message
        self.is_complete = not message.get("more_body", False)
        size = len(message.get("body", b""))
        self.size += size
        is_within_limit = self._reserve(size, self._stored_bytes)
        if self.size > self.max_bytes:
            self.rejection = self.too_large()
        elif not is_within_limit:
            self.rejection = error_response(503, "the server's disk limit is reached; try again later", CLOSE)
        return message if self.rejection is None else DISCONNECT

    async def send(self, message: Message) -> None:
        if self.rejection is not None and not self.has_response:
            return
        self.has_response = True
        if message["type"] == "http.response.start" and not self.is_complete:
            # Keep-alive would make the server read the rest of a body that may never end.
            MutableHeaders(scope=message)["Connection"] = "close"
        await self._send(message)


async def _respond_and_drain(response: JSONResponse, scope: Scope, receive: Receive, send: Send) -> None:
    """Send a response, then read on briefly: otherwise a client that is still sending gets a connection reset."""

    async def send_unfinished(message: Message) -> None:
        await send({**message, "more_body": True} if message["type"] == "http.response.body" else message)

    await response(scope, receive, send_unfinished)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_TIMEOUT_S):
            drained = 0
            while drained < MAX_DRAIN_BYTES and (message := await receive()).get("more_body", False):
                drained += len(message.get("body", b""))
    await send({"type": "http.response.body", "body": b""})
