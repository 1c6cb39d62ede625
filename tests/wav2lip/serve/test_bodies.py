"""Bodies are counted on their way in, whatever reads them; here the server is played by the test."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse

from wav2lip.serve.bodies import THROWN_AWAY, Bodies
from wav2lip.serve.settings import MIB, Settings

BLOCK = 1 << 16


async def reader(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
    """Reads all of a body and says how much it was; would say something else of a client that is gone."""
    size = 0
    try:
        async for block in Request(scope, receive).stream():
            size += len(block)
    except ClientDisconnect:
        await PlainTextResponse("gone", 400)(scope, receive, send)
        raise
    await PlainTextResponse(str(size))(scope, receive, send)


async def hasty(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
    """Answers without reading."""
    await PlainTextResponse("no", 400)(scope, receive, send)


class Sent:
    """One request with a body of so many blocks, and what came back."""

    def __init__(self, app, settings: Settings, blocks: int, kind: str = "multipart/form-data", pause: float = 0.0,
                 kept: int = 0):  # type: ignore[no-untyped-def]  # fmt: skip
        self.blocks, self.taken, self.pause = blocks, 0, pause
        self.messages: list[dict] = []
        scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": [
            (b"content-type", kind.encode()), (b"transfer-encoding", b"chunked")]}  # fmt: skip
        asyncio.run(Bodies(app, settings, lambda: kept)(scope, self.receive, self.send))

    async def receive(self) -> dict:
        await asyncio.sleep(self.pause)
        self.taken += 1
        return {"type": "http.request", "body": bytes(BLOCK), "more_body": self.taken < self.blocks}

    async def send(self, message) -> None:  # type: ignore[no-untyped-def]
        self.messages.append(message)

    @property
    def status(self) -> int:
        return self.messages[0]["status"]

    @property
    def text(self) -> bytes:
        return b"".join(message["body"] for message in self.messages[1:])


def test_a_body_within_the_limit_comes_through_whole():
    sent = Sent(reader, Settings(upload_mib=1), blocks=48)  # two files of 1 MiB, and 1 MiB of words
    assert (sent.status, sent.text) == (200, str(3 * MIB).encode())


@pytest.mark.parametrize(("kind", "most"), [("multipart/form-data; boundary=x", 3 * MIB), ("application/json", MIB)])
def test_a_body_without_an_end_is_refused_at_the_limit_and_its_reader_sees_a_client_that_is_gone(kind, most):
    sent = Sent(reader, Settings(upload_mib=1), blocks=1 << 30, kind=kind)
    assert sent.status == 413 and b"larger than %d MiB" % (most // MIB) in sent.text
    assert sent.taken * BLOCK <= most + THROWN_AWAY + 2 * BLOCK
    assert (b"connection", b"close") in sent.messages[0]["headers"]


def test_a_body_that_comes_too_slowly_is_refused():
    sent = Sent(reader, Settings(upload_seconds=0.2), blocks=1 << 30, pause=0.05)
    assert sent.status == 408 and sent.taken < 100


def test_more_bodies_at_a_time_than_the_disk_holds_are_refused():
    sent = Sent(reader, Settings(upload_mib=100, disk_mib=1), blocks=1 << 30)
    assert sent.status == 503


def test_files_are_refused_where_the_disk_is_full_and_words_are_not():
    settings = Settings(upload_mib=1, disk_mib=2)
    assert Sent(reader, settings, blocks=15, kept=MIB).status == 200
    full = Sent(reader, settings, blocks=17, kept=MIB)
    assert full.status == 503 and b"no room" in full.text
    assert Sent(reader, settings, blocks=1, kind="application/json", kept=3 * MIB).status == 200


def test_an_answer_before_the_end_of_a_body_closes_the_line():
    sent = Sent(hasty, Settings(), blocks=1 << 30)
    assert sent.status == 400 and sent.taken == 0
    assert (b"connection", b"close") in sent.messages[0]["headers"]


def test_a_fault_of_the_application_is_not_hidden():
    async def faulty(*_) -> None:  # type: ignore[no-untyped-def]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Sent(faulty, Settings(), blocks=1)
