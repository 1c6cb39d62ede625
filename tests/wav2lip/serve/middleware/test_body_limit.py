"""BodyLimitMiddleware, driven directly through ASGI messages."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse

from wav2lip.serve.middleware.body_limit import MAX_DRAIN_BYTES, BodyLimitMiddleware
from wav2lip.serve.settings import MIB, Settings

BLOCK_BYTES = 1 << 16


async def counting_app(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
    """Read the body and respond with its size; respond 400 after a disconnect."""
    size = 0
    try:
        async for block in Request(scope, receive).stream():
            size += len(block)
    except ClientDisconnect:
        await PlainTextResponse("disconnected", 400)(scope, receive, send)
        raise
    await PlainTextResponse(str(size))(scope, receive, send)


async def hasty_app(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
    """Respond without reading."""
    await PlainTextResponse("no", 400)(scope, receive, send)


class Exchange:
    """One request with a body of `blocks` blocks, and the response to it."""

    def __init__(self, app, settings: Settings, blocks: int, content_type: str = "multipart/form-data",
                 pause_s: float = 0.0, stored_bytes: int = 0):  # type: ignore[no-untyped-def]  # fmt: skip
        self.blocks, self.read_blocks, self.pause_s = blocks, 0, pause_s
        self.messages: list[dict] = []
        scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": [
            (b"content-type", content_type.encode()), (b"transfer-encoding", b"chunked")]}  # fmt: skip
        asyncio.run(BodyLimitMiddleware(app, settings, lambda: stored_bytes)(scope, self.receive, self.send))

    async def receive(self) -> dict:
        await asyncio.sleep(self.pause_s)
        self.read_blocks += 1
        return {"type": "http.request", "body": bytes(BLOCK_BYTES), "more_body": self.read_blocks < self.blocks}

    async def send(self, message) -> None:  # type: ignore[no-untyped-def]
        self.messages.append(message)

    @property
    def status(self) -> int:
        return self.messages[0]["status"]

    @property
    def text(self) -> bytes:
        return b"".join(message["body"] for message in self.messages[1:])


def test_body_within_limit_passes():
    exchange = Exchange(
        counting_app, Settings(upload_mib=1), blocks=176
    )  # face, reference, 8 voices of 1 MiB, and 1 MiB of fields
    assert (exchange.status, exchange.text) == (200, str(11 * MIB).encode())


@pytest.mark.parametrize(
    ("content_type", "limit"), [("multipart/form-data; boundary=x", 11 * MIB), ("application/json", MIB)]
)
def test_endless_body_is_rejected_at_limit(content_type, limit):
    exchange = Exchange(counting_app, Settings(upload_mib=1), blocks=1 << 30, content_type=content_type)
    assert exchange.status == 413 and b"%d MiB" % (limit // MIB) in exchange.text
    assert exchange.read_blocks * BLOCK_BYTES <= limit + MAX_DRAIN_BYTES + 2 * BLOCK_BYTES
    assert (b"connection", b"close") in exchange.messages[0]["headers"]


def test_slow_body_is_rejected():
    exchange = Exchange(counting_app, Settings(upload_seconds=0.2), blocks=1 << 30, pause_s=0.05)
    assert exchange.status == 408 and exchange.read_blocks < 100


def test_bodies_in_transit_count_towards_disk_limit():
    exchange = Exchange(counting_app, Settings(upload_mib=100, disk_mib=1), blocks=1 << 30)
    assert exchange.status == 503


def test_full_disk_rejects_files_but_not_json():
    settings = Settings(upload_mib=1, disk_mib=2)
    assert Exchange(counting_app, settings, blocks=15, stored_bytes=MIB).status == 200
    full = Exchange(counting_app, settings, blocks=17, stored_bytes=MIB)
    assert full.status == 503 and b"disk" in full.text
    json_exchange = Exchange(counting_app, settings, blocks=1, content_type="application/json", stored_bytes=3 * MIB)
    assert json_exchange.status == 200


def test_early_response_closes_connection():
    exchange = Exchange(hasty_app, Settings(), blocks=1 << 30)
    assert exchange.status == 400 and exchange.read_blocks == 0
    assert (b"connection", b"close") in exchange.messages[0]["headers"]


def test_application_exception_propagates():
    async def failing_app(*_) -> None:  # type: ignore[no-untyped-def]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Exchange(failing_app, Settings(), blocks=1)


def test_upload_that_its_client_ends_leaves_no_traceback(start_server, caplog):
    """As hostile clients fill the log."""
    app = start_server().app
    sent = []

    async def receive() -> dict[str, object]:
        return {"type": "http.disconnect"}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    form = (b"content-type", b"multipart/form-data; boundary=x")
    headers = [(b"host", b"localhost"), form, (b"content-length", b"99")]
    scope = {"type": "http", "method": "POST", "path": "/v1/uploads", "query_string": b"", "headers": headers,
             "client": ("::1", 1), "server": ("::1", 80), "scheme": "http", "http_version": "1.1"}  # fmt: skip
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 400 and caplog.text == ""
