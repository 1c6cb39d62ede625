"""What every request passes before anything reads it: where it comes from, who sends it, how many it sends."""

from __future__ import annotations

from urllib.parse import urlsplit

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wav2lip.serve.answers import answer
from wav2lip.serve.clients import COOKIE, REMEMBERED, Client, Clients
from wav2lip.serve.refusals import NotAllowed, Refusal, TooMany, WhoAreYou
from wav2lip.serve.settings import Settings

SAFE = ("GET", "HEAD", "OPTIONS")  # methods that change nothing
OPEN = ("/login", "/healthz")  # paths that need no key
LOCAL = ("localhost", "127.0.0.1", "::1")
PAGE = "/"
HEADERS = {"X-Content-Type-Options": "nosniff", "X-Frame-Options": "SAMEORIGIN", "Referrer-Policy": "same-origin"}


class Door:
    """ASGI middleware. Requests that pass have their client's name in state.client."""

    def __init__(self, app: ASGIApp, settings: Settings, clients: Clients):
        self._app, self._clients = app, clients
        self._hosts = {*LOCAL, *settings.allowed_hosts}
        self._any_host = not settings.on_loopback and not settings.allowed_hosts
        self._rate = RateLimitItemPerMinute(settings.requests_per_minute)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # nothing here speaks it
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = HTTPConnection(scope)
        try:
            self._check_host(request)
            self._check_origin(request)
            client = self._clients.of(request)
            self._count(request, client)
            if client.name is None and scope["path"] not in OPEN:
                if scope["path"] == PAGE and scope["method"] in SAFE:
                    await RedirectResponse("login", 303)(scope, receive, send)
                    return
                raise WhoAreYou("a key is needed; send it as Authorization: Bearer KEY, or log in at /login")
        except Refusal as refusal:
            await self._refuse(refusal)(scope, receive, send)
            return
        cookie = None
        if scope["path"] == PAGE and self._clients.keys is None and (client.name or "").startswith("address "):
            cookie = self._clients.visitor_cookie()
            client = self._clients.of(_with_cookie(scope, cookie))
        scope.setdefault("state", {})["client"] = client.name
        await self._app(scope, receive, _dressed(send, scope, cookie))

    def _check_host(self, request: HTTPConnection) -> None:
        """A name that someone else's server gave to our address is not ours: its pages are not let in."""
        host = _host(request)
        if not self._any_host and host not in self._hosts:
            raise NotAllowed(f"this server is not called {host[:100]!r}; start it with --allowed_host for that name")

    def _check_origin(self, request: HTTPConnection) -> None:
        """A page of another site may not act in the name of whoever looks at it."""
        if request.scope["method"] in SAFE:
            return
        origin = request.headers.get("origin")
        foreign = origin is not None and origin.partition("://")[2] != request.headers.get("host")
        if foreign or request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            raise NotAllowed("requests from pages of another site are refused; send it from this server's own page")

    def _count(self, request: HTTPConnection, client: Client) -> None:
        """What merely loads the page is not counted."""
        path, method = request.scope["path"], request.scope["method"]
        if not path.startswith("/v1/") and method in SAFE and client.name is not None:
            return
        if not self._limiter.hit(self._rate, client.counted_as):
            raise TooMany(f"{self._rate.amount} requests a minute are all that one client may send; wait a little")

    def _refuse(self, refusal: Refusal) -> JSONResponse:
        headers = {401: {"WWW-Authenticate": "Bearer"}, 429: {"Retry-After": "10"}}
        return answer(refusal.status, str(refusal), headers.get(refusal.status))


def _host(request: HTTPConnection) -> str:
    try:
        return urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    except ValueError:
        return ""


def _with_cookie(scope: Scope, cookie: str) -> HTTPConnection:
    return HTTPConnection({**scope, "headers": [*scope["headers"], (b"cookie", f"{COOKIE}={cookie}".encode())]})


def set_cookie(cookie: str, scope: Scope, seconds: float) -> str:
    """The header that gives a browser a cookie which its scripts and other sites' pages cannot use."""
    secure = "; Secure" if scope.get("scheme") == "https" else ""
    return f"{COOKIE}={cookie}; Path=/; Max-Age={int(seconds)}; HttpOnly; SameSite=Lax{secure}"


def _dressed(send: Send, scope: Scope, cookie: str | None) -> Send:
    """Send with the headers that every answer has."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            if cookie is not None:
                headers.append("Set-Cookie", set_cookie(cookie, scope, REMEMBERED))
        await send(message)

    return sent
