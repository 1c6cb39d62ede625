"""LimitedProtocol: half-open requests, and the number of connections of an address."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
import uvicorn

from tests.helpers.serve import find_free_port
from wav2lip.serve.middleware.connection_limit import build_protocol
from wav2lip.serve.settings import Settings

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
TIMEOUT_S = 0.4


async def answer_slowly(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
    """Respond after longer than the limit of a request's head."""
    if scope["type"] == "http":
        await receive()
        await asyncio.sleep(2 * TIMEOUT_S if scope["path"] == "/slow" else 0.0)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


@contextmanager
def serve(settings: Settings) -> Iterator[int]:
    """Run the application in a thread with the protocol; yields its port."""
    port = find_free_port()
    config = uvicorn.Config(answer_slowly, "127.0.0.1", port, log_level="error", lifespan="off",
                            http=build_protocol(settings, TIMEOUT_S), ws="none")  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield port
    server.should_exit = True
    thread.join()


@pytest.fixture
def start() -> Iterator[Callable[..., int]]:
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(serve(Settings(**settings)))


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=5)


def has_answer(connection: socket.socket) -> bool:
    answer = b""
    while not answer.endswith(b"ok"):
        answer += (block := connection.recv(1000))
        if not block:
            return False
    return True


def is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(100) == b""
    except ConnectionResetError:
        return True


def test_half_open_requests_are_closed_and_slow_answers_are_not(start):
    port = start()
    silent, half, trickling, second, slow = (connect(port) for _ in range(5))
    half.sendall(REQUEST[:-2])
    second.sendall(REQUEST)
    assert has_answer(second)
    second.sendall(REQUEST[:9])  # the next request on the same connection
    slow.sendall(REQUEST.replace(b"/ ", b"/slow "))
    begin = time.monotonic()
    while time.monotonic() - begin < 1.5 * TIMEOUT_S:
        try:
            trickling.sendall(b"G")
        except OSError:
            break
        time.sleep(TIMEOUT_S / 10)
    assert all(is_closed(connection) for connection in (silent, half, trickling, second))
    assert time.monotonic() - begin < 4 * TIMEOUT_S
    assert has_answer(slow)
    for connection in (silent, half, trickling, second, slow):
        connection.close()


def test_connections_of_an_address_are_bounded(start):
    port = start(connections_per_address=3)
    first = [connect(port) for _ in range(3)]
    time.sleep(0.05)
    with connect(port) as fourth:
        assert is_closed(fourth)
    first[0].close()
    time.sleep(0.05)
    with connect(port) as again:
        again.sendall(REQUEST)
        assert has_answer(again)
    for connection in first:
        connection.close()


def test_connections_of_all_addresses_are_bounded(start):
    port = start(connections=2, proxy="127.0.0.1")
    first = [connect(port) for _ in range(2)]
    time.sleep(0.05)
    with connect(port) as third:
        response = http.client.HTTPResponse(third)
        response.begin()
        assert (response.status, response.headers["retry-after"]) == (503, "60")
        assert json.load(response) == {"error": "the server has no free connection; try again in a minute"}
        assert is_closed(third)
    first[0].close()
    time.sleep(0.05)
    with connect(port) as again:
        again.sendall(REQUEST)
        assert has_answer(again)
    first[1].close()


def test_connections_of_the_proxy_are_not_counted(start):
    port = start(connections_per_address=1, proxy="127.0.0.1")
    connections = [connect(port) for _ in range(3)]
    for connection in connections:
        connection.sendall(REQUEST)
        assert has_answer(connection)
        connection.close()
