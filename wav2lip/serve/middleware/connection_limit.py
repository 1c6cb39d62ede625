"""Limit connections, of all and per address, and the time in which a connection must send the head of a request."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from wav2lip.serve.settings import Settings

HEAD_TIMEOUT_S = 10.0
FULL_BODY = b'{"error": "the server has no free connection; try again in a minute"}'
FULL_RESPONSE = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 60\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%s" % (len(FULL_BODY), FULL_BODY)
)


class CountedWebSocket(WebSocketsSansIOProtocol):
    """WebSocket that remains one of the connections of its address until it is closed."""

    on_connection_lost: Callable[[], None] | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.on_connection_lost is not None:
            self.on_connection_lost()


def build_protocol(settings: Settings, head_timeout_s: float = HEAD_TIMEOUT_S) -> type[H11Protocol]:
    """Build uvicorn's HTTP protocol with limits; that of one address does not apply to the reverse proxy."""
    connections: Counter[str] = Counter()

    class LimitedProtocol(H11Protocol):
        """HTTP connection that is closed if it sends no whole request head in time."""

        _address: str | None = None
        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            address = self.client[0] if self.client else ""
            if connections.total() >= settings.connections:
                transport.write(FULL_RESPONSE)
                transport.close()
                return
            if address != settings.proxy and connections[address] >= settings.connections_per_address:
                transport.abort()
                return
            self._address = address
            connections[address] += 1
            self._limit_head()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._cancel_timer()
            self._release()

        def handle_websocket_upgrade(self, event: h11.Request) -> None:
            super().handle_websocket_upgrade(event)
            protocol = self.transport.get_protocol()
            assert isinstance(protocol, CountedWebSocket)
            protocol.on_connection_lost = self._release  # replaces connection_lost of this protocol

        def _release(self) -> None:
            if self._address is not None:
                connections[self._address] -= 1
                if not connections[self._address]:
                    del connections[self._address]
                self._address = None

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._limit_head()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._limit_head()  # the next request may have begun

        def _limit_head(self) -> None:
            """Start the timer while a head is incomplete, and stop it while a request is handled."""
            if self.conn.their_state is not h11.IDLE:
                self._cancel_timer()
            elif self._timer is None and (self.cycle is None or self.conn.trailing_data[0]):
                self._timer = self.loop.call_later(head_timeout_s, self.transport.abort)

        def _cancel_timer(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    return LimitedProtocol
