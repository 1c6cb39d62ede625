"""The bodies of requests: counted as they come, whatever their headers say, and not waited for for ever."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wav2lip.serve.answers import answer
from wav2lip.serve.settings import MIB, Settings

IDLE = 30.0  # seconds without a byte
LINGER = 2.0  # seconds in which the rest of a refused body is thrown away
THROWN_AWAY = 16 * MIB  # bytes of it, at most
FILES = 2  # a face and a sound
WORDS = MIB  # bytes of a request beside its files
LAST = {"Connection": "close"}
GONE: Message = {"type": "http.disconnect"}


class Bodies:
    """ASGI middleware that covers every route, the page's too."""

    def __init__(self, app: ASGIApp, settings: Settings, kept: Callable[[], int]):
        """kept: bytes on the disk that files have no more room for."""
        self._app, self._kept = app, kept
        self._with_files = FILES * settings.upload_mib * MIB + WORDS
        self._room = settings.disk_mib * MIB
        self._seconds = settings.upload_seconds
        self._coming = 0  # bytes of all bodies that are being received

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        stated = headers.get("content-length", "0")
        multipart = headers.get("content-type", "").lower().startswith("multipart/form-data")
        most, kept = (self._with_files, self._kept) if multipart else (WORDS, None)
        body = _Body(receive, send, most, self._seconds, self._room_for, kept)
        body.whole = stated == "0" and "transfer-encoding" not in headers
        if stated.isdecimal() and int(stated) > body.most:
            await _last_answer(body.too_large(), scope, receive, send)
            return
        try:
            await self._app(scope, body.receive, body.send)
        except Exception:  # whatever an application raises whose client seems to have gone in the middle of a body
            if body.refusal is None:
                raise
        finally:
            self._coming -= body.size
        if body.refusal is not None and not body.answered:
            await _last_answer(body.refusal, scope, receive, send)

    def _room_for(self, size: int, kept: int) -> bool:
        """Count bytes that came; whether that many may be on their way at a time, beside those that are kept."""
        self._coming += size
        return kept + self._coming <= self._room


class _Body:
    """One request's. Once it is refused, the application sees that the client is gone, and its answer is dropped."""

    def __init__(
        self, receive: Receive, send: Send, most: int, seconds: float, room_for: Callable[[int, int], bool],
        kept: Callable[[], int] | None,
    ):  # fmt: skip
        """kept: None for a body without files, which is taken whatever is kept."""
        self._receive, self._send, self._room_for, self._look = receive, send, room_for, kept
        self._kept = 0  # bytes, once looked at
        self._until = time.monotonic() + seconds
        self.most = most  # bytes
        self.size = 0  # bytes so far
        self.whole = False  # all of it came
        self.answered = False
        self.refusal: JSONResponse | None = None  # what is answered instead of what the application says

    def too_large(self) -> JSONResponse:
        return answer(413, f"the request is larger than {self.most >> 20} MiB; send less", LAST)

    async def receive(self) -> Message:
        if self.whole:
            return await self._receive()
        if self.refusal is not None:
            return GONE
        if self._look is not None:  # not before: who may not send anything is refused without a look at the disk
            self._kept, self._look = await run_in_threadpool(self._look), None
        try:
            left = max(0.0, self._until - time.monotonic())
            message = await asyncio.wait_for(self._receive(), min(IDLE, left))
        except TimeoutError:
            self.refusal = answer(408, "the request came too slowly; send it again", LAST)
            return GONE
        if message["type"] != "http.request":
            return message
        self.whole = not message.get("more_body", False)
        size = len(message.get("body", b""))
        self.size += size
        room = self._room_for(size, self._kept)
        if self.size > self.most:
            self.refusal = self.too_large()
        elif not room:
            self.refusal = answer(503, "the server has no room for more files at present; try again later", LAST)
        return message if self.refusal is None else GONE

    async def send(self, message: Message) -> None:
        if self.refusal is not None and not self.answered:
            return
        self.answered = True
        if message["type"] == "http.response.start" and not self.whole:
            MutableHeaders(scope=message)["Connection"] = (
                "close"  # or the rest would be read to an end that may not come
            )
        await self._send(message)


async def _last_answer(refusal: JSONResponse, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer, and listen on for a moment: a client that sends all before it reads would see a broken line instead."""

    async def unended(message: Message) -> None:
        await send({**message, "more_body": True} if message["type"] == "http.response.body" else message)

    await refusal(scope, receive, unended)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER):
            thrown_away = 0
            while thrown_away < THROWN_AWAY and (message := await receive()).get("more_body", False):
                thrown_away += len(message.get("body", b""))
    await send({"type": "http.response.body", "body": b""})
