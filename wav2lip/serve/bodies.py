"""The bodies of requests: counted as they come, whatever their headers say, and not waited for for ever."""

from __future__ import annotations

import asyncio
import time

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wav2lip.serve.answers import answer
from wav2lip.serve.settings import MIB, Settings

IDLE = 30.0  # seconds without a byte
FILES = 2  # a face and a sound
WORDS = MIB  # bytes of a request beside its files


class Bodies:
    """ASGI middleware that covers every route, the page's too."""

    def __init__(self, app: ASGIApp, settings: Settings):
        self._app = app
        self._with_files = FILES * settings.upload_mib * MIB + WORDS
        self._room = settings.disk_mib * MIB
        self._seconds = settings.upload_seconds
        self._coming = 0  # bytes of all bodies that are being received

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        multipart = headers.get("content-type", "").lower().startswith("multipart/form-data")
        body = _Body(self, receive, send, self._with_files if multipart else WORDS)
        stated = headers.get("content-length", "")
        if stated.isdecimal() and int(stated) > body.most:
            await body.too_large()(scope, receive, send)
            return
        try:
            await self._app(scope, body.receive, body.send)
        except Exception:
            if body.refusal is None:
                raise
        finally:
            self._coming -= body.size
        if body.refusal is not None and not body.answered:
            await body.refusal(scope, receive, send)


class _Body:
    """One request's. Once it is refused, the application sees that the client is gone, and its answer is dropped."""

    def __init__(self, bodies: Bodies, receive: Receive, send: Send, most: int):
        self._bodies, self._receive, self._send = bodies, receive, send
        self.most = most  # bytes
        self.size = 0  # bytes so far
        self.refusal: JSONResponse | None = None  # what is answered instead
        self.answered = False
        self._whole = False
        self._until = time.monotonic() + bodies._seconds

    def too_large(self) -> JSONResponse:
        return answer(413, f"the request is larger than {self.most >> 20} MiB; send less", {"Connection": "close"})

    async def receive(self) -> Message:
        if self._whole:
            return await self._receive()
        if self.refusal is not None:
            return {"type": "http.disconnect"}
        try:
            left = max(0.0, self._until - time.monotonic())
            message = await asyncio.wait_for(self._receive(), min(IDLE, left))
        except TimeoutError:
            return self._refused(408, "the request came too slowly; send it again")
        if message["type"] != "http.request":
            return message
        self._whole = not message.get("more_body", False)
        size = len(message.get("body", b""))
        self.size += size
        self._bodies._coming += size
        if self.size > self.most:
            self.refusal = self.too_large()
            return {"type": "http.disconnect"}
        if self._bodies._coming > self._bodies._room:
            return self._refused(503, "the server receives as much as it can already; try again later")
        return message

    def _refused(self, status: int, sentence: str) -> Message:
        self.refusal = answer(status, sentence, {"Connection": "close"})
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self.refusal is not None and not self.answered:
            return
        self.answered = True
        await self._send(message)
