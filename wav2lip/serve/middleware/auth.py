"""Authentication middleware: host, origin, API key or cookie, and rate limit of every request."""

from __future__ import annotations

from urllib.parse import urlsplit

from limits import RateLimitItemPerHour, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette._utils import get_route_path
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wav2lip.serve.auth.identity import COOKIE, VISITOR_MAX_AGE_S, Client, ClientResolver
from wav2lip.serve.error_handlers import error_response
from wav2lip.serve.errors import ApiError, Forbidden, RateLimited, Unauthorized
from wav2lip.serve.settings import Settings, parse_origin

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
PUBLIC_PATHS = ("/login", "/healthz")
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")
LIVE_PATH = "/v1/live"
PAGE_PATHS = ("/", "")  # the second under a root path without a slash at its end
PAGE_REQUESTS = 10  # requests for files of the page, as a multiple of the limit of other requests: it has about sixty
VISITORS_PER_HOUR = 60  # new cookies of one address
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
}


class AuthMiddleware:
    """ASGI middleware that rejects unauthorized requests and stores the client's name in state.client."""

    def __init__(self, app: ASGIApp, settings: Settings, clients: ClientResolver):
        self._app, self._clients = app, clients
        self._websockets = () if settings.live_faces is None else (LIVE_PATH,)
        self._hosts = {*LOOPBACK_HOSTS, *settings.allowed_hosts}
        self._allow_any_host = not settings.is_loopback and not settings.allowed_hosts
        self._origins = {parse_origin(origin) for origin in settings.origins}
        self._rate = RateLimitItemPerMinute(settings.requests_per_minute)
        self._page_rate = RateLimitItemPerMinute(PAGE_REQUESTS * settings.requests_per_minute)
        self._visitor_rate = RateLimitItemPerHour(VISITORS_PER_HOUR)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            if get_route_path(scope) not in self._websockets:
                await send({"type": "websocket.close", "code": 1008})
                return
        elif scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = HTTPConnection(scope)
        path = get_route_path(scope)
        is_page = path in PAGE_PATHS
        try:
            self._check_host(request)
            self._check_origin(request)
            client = self._clients.resolve(request)
            self._check_rate(request, client, path)
            if client.name is None and path not in PUBLIC_PATHS:
                if is_page and _is_safe(scope):
                    login = "login" if path else f"{scope['root_path']}/login"
                    await RedirectResponse(login, 303)(scope, receive, send)
                    return
                raise Unauthorized("an API key is required; send it as Authorization: Bearer KEY, or log in at /login")
        except ApiError as error:
            await _error_with_headers(error)(scope, receive, send)
            return
        cookie = None
        is_new = is_page and self._clients.keys is None and (client.name or "").startswith("address ")
        if is_new and self._limiter.hit(self._visitor_rate, client.rate_limit_key):
            cookie = self._clients.create_visitor_cookie()
            client = self._clients.resolve(_with_cookie(scope, cookie))
        scope.setdefault("state", {})["client"] = client.name
        await self._app(scope, receive, _with_headers(send, scope, cookie))

    def _check_host(self, request: HTTPConnection) -> None:
        """Reject foreign host names, which protects a local server from DNS rebinding."""
        host = _host(request)
        if not self._allow_any_host and host not in self._hosts:
            raise Forbidden(f"host {host[:100]!r} is not allowed; start the server with --allowed_host for that name")

    def _check_origin(self, request: HTTPConnection) -> None:
        """Reject state-changing requests and WebSockets from pages of other sites (CSRF)."""
        if _is_safe(request.scope):
            return
        origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
        if site == "same-origin" or (origin is not None and parse_origin(origin) in self._origins):
            return  # pages cannot set the first header, and a proxy may have changed the host
        if (origin is not None and not _is_same_host(origin, request)) or site in ("cross-site", "same-site"):
            raise Forbidden("cross-site requests are not allowed; send the request from this server's own page")

    def _check_rate(self, request: HTTPConnection, client: Client, path: str) -> None:
        """Count a request; those that load the web page have a limit of their own."""
        is_api = path.startswith("/v1/") or not _is_safe(request.scope) or client.name is None
        rate, key = (self._rate if is_api else self._page_rate), client.rate_limit_key
        if not self._limiter.hit(rate, "api" if is_api else "page", key):
            raise RateLimited(f"the limit of {rate.amount} requests per minute is exceeded; retry later")


def _is_safe(scope: Scope) -> bool:
    """Return True for a request that changes nothing; browsers open WebSockets to any site."""
    return scope["type"] == "http" and scope["method"] in SAFE_METHODS


def _error_with_headers(error: ApiError) -> JSONResponse:
    headers = {401: {"WWW-Authenticate": "Bearer"}, 429: {"Retry-After": "10"}}
    return error_response(error.status, str(error), headers.get(error.status))


def _is_same_host(origin: str, request: HTTPConnection) -> bool:
    """Compare an origin with the host of a request; its scheme is unknown behind a proxy that terminates TLS."""
    scheme = origin.partition("://")[0]
    return parse_origin(origin) == parse_origin(f"{scheme}://{request.headers.get('host', '')}") is not None


def _host(request: HTTPConnection) -> str:
    try:
        return urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    except ValueError:
        return ""


def _with_cookie(scope: Scope, cookie: str) -> HTTPConnection:
    return HTTPConnection({**scope, "headers": [*scope["headers"], (b"cookie", f"{COOKIE}={cookie}".encode())]})


def build_cookie_header(cookie: str, scope: Scope, max_age_s: float) -> str:
    """Build a Set-Cookie value for a cookie that scripts and other sites cannot use."""
    secure = "; Secure" if scope.get("scheme") == "https" else ""
    path = scope.get("root_path") or "/"
    return f"{COOKIE}={cookie}; Path={path}; Max-Age={int(max_age_s)}; HttpOnly; SameSite=Lax{secure}"


def _with_headers(send: Send, scope: Scope, cookie: str | None) -> Send:
    """Wrap `send` so that every response has the security headers and the cookie, unless that is None."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            if cookie is not None:
                headers.append("Set-Cookie", build_cookie_header(cookie, scope, VISITOR_MAX_AGE_S))
        await send(message)

    return send_with_headers
