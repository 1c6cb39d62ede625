"""Restrictions of Gradio: only uploaded files, no URLs, only the routes that the page uses, and clients kept apart."""

from __future__ import annotations

import json
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import gradio as gr
from gradio.blocks import BlockFunction
from gradio.exceptions import InvalidPathError
from gradio.state_holder import SessionState
from starlette._utils import get_route_path
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wav2lip.serve.error_handlers import error_response

# Routes used by the page in a browser and by gradio_client. `file=` serves uploads only and fetches no URL.
ALLOWED_ROUTES = re.compile(
    r"/|/config/?|/theme\.css|/favicon\.ico|/manifest\.json|/robots\.txt|/(assets|static|svelte)/.+"
    r"|/gradio_api/(info|theme\.css|startup-events|queue/(join|data)|cancel|upload|upload_progress)/?"
    r"|/gradio_api/(heartbeat/[^/]+|call/.+|file=(?!https?://).+)",
    re.DOTALL,
)
# Requests with a JSON body that may name sessions, events and files.
JSON_ROUTES = re.compile(r"/gradio_api/(queue/join|cancel|call/.+)/?", re.DOTALL)
RECORDED_ROUTES = re.compile(r"/gradio_api/(queue/join|upload|call/.+)/?", re.DOTALL)  # respond with events or files
ID_ROUTES = re.compile(r"/gradio_api/(?:heartbeat|call(?:/v2)?/[^/]+)/([^/]+)/?")  # end in a session or an event
UPLOAD_ROUTE = re.compile(r"/gradio_api/upload/?")
FILE_ROUTE = "/gradio_api/file="
HOST_HEADERS = (b"x-forwarded-host", b"x-gradio-server")
MAX_IDS = 100_000  # remembered sessions, events and files; older ones are refused

current_client: ContextVar[str | None] = ContextVar("current_client", default=None)  # of the running handler


class Ownership:
    """Clients of the page's sessions, events and files; thread-safe."""

    def __init__(self, folder: Path, public: Collection[Path] = ()):
        """folder: of uploaded files and those that handlers return. public: files outside of it that all may read."""
        self._folder = folder.resolve()
        self._public = {str(path.resolve()) for path in public}
        self._owners: OrderedDict[str, set[str]] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, id: str, client: str) -> None:
        """Record that a client made a session, an event or a file; equal files of two clients have one path."""
        with self._lock:
            self._find_owners(id).add(client)

    def is_owner(self, id: str, client: str) -> bool:
        """Return True if a client made a session, an event or a file."""
        with self._lock:
            return client in self._owners.get(id, ())

    def claim(self, id: str, client: str) -> bool:
        """Return True if a session belongs to a client, to which it is given if it is new."""
        with self._lock:
            owners = self._find_owners(id)
            if not owners:
                owners.add(client)
            return client in owners

    def _find_owners(self, id: str) -> set[str]:
        """Return the clients of an id, a new set for a new one; the oldest ids are dropped."""
        owners = self._owners.setdefault(id, set())
        self._owners.move_to_end(id)
        while len(self._owners) > MAX_IDS:
            self._owners.popitem(last=False)
        return owners

    def add_file(self, path: str, client: str) -> None:
        """Record that a client uploaded a file, or received it from a handler."""
        self.add(os.path.realpath(path), client)

    def file_bytes(self, client: str) -> int:
        """Return the size of a client's files."""
        with self._lock:
            paths = [Path(id) for id, owners in self._owners.items() if client in owners and os.path.isabs(id)]
        return sum(path.stat().st_size for path in paths if path.is_file())

    def may_read(self, path: str, client: str) -> bool:
        """Return True if a file is public or belongs to a client, whatever links (/proc/self/root) the path takes."""
        real = _real_path(path)
        return real in self._public or self.is_owner(real, client)

    def may_send(self, path: str, client: str) -> bool:
        """Return True for a path that a client may name as an input; Gradio rejects those outside of the folder."""
        real = _real_path(path)
        return not Path(real).is_relative_to(self._folder) or self.is_owner(real, client)


def _real_path(path: str) -> str:
    try:
        return os.path.realpath(path)
    except ValueError:  # a null byte
        return ""


class RestrictedBlocks(gr.Blocks):
    """Blocks whose functions accept uploaded files only; Gradio itself would fetch URLs of any size."""

    ownership: Ownership | None = None  # set once the page is built

    def restrict_to_uploads(self, ownership: Ownership) -> None:
        """Reject files that were not uploaded, and record those that handlers return; call it once the page is built.

        Gradio checks this only for launched pages, and a mounted page is never launched.
        """
        self.has_launched = True
        self.ownership = ownership

    async def process_api(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Process as Gradio does, for the client of the request."""
        current_client.set(getattr(options.get("request"), "username", None))
        return await super().process_api(*arguments, **options)

    async def preprocess_data(
        self, block_fn: BlockFunction, inputs: list[Any], state: SessionState | None, explicit_call: bool = False
    ) -> list[Any]:
        """Preprocess as Gradio does. Raises: gr.Error for a file that is a URL or was not uploaded."""
        if any(path.startswith(("http://", "https://")) for path in _find_paths(inputs)):
            raise _not_uploaded()
        try:
            values: list[Any] = await super().preprocess_data(block_fn, inputs, state, explicit_call)
        except InvalidPathError as error:
            raise _not_uploaded() from error
        return values

    async def postprocess_data(
        self, block_fn: BlockFunction, predictions: list[Any] | dict[Any, Any], state: SessionState | None
    ) -> list[Any]:
        """Postprocess as Gradio does; the files of the result belong to the client."""
        values: list[Any] = await super().postprocess_data(block_fn, predictions, state)
        client = current_client.get()
        if client is not None and self.ownership is not None:
            for path in _find_paths(values):
                self.ownership.add_file(path, client)
        return values


def _find_paths(value: Any) -> Iterator[str]:
    """Yield the path of every file anywhere in a JSON value."""
    if isinstance(value, dict):
        if isinstance(path := value.get("path"), str):
            yield path
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _find_paths(item)


def _not_uploaded() -> gr.Error:
    return gr.Error("the file was not uploaded; upload the file itself", print_exception=False)


class GradioGuard:
    """ASGI middleware around Gradio: only ALLOWED_ROUTES, and only the client's own sessions, events and files."""

    def __init__(self, app: ASGIApp, ownership: Ownership, check_quota: Callable[[str, int], object]):
        """check_quota: called with a client and the bytes of its files before an upload; raises ApiError."""
        self._app, self._ownership, self._check_quota = app, ownership, check_quota

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Gradio would write the host of these headers into the page; AuthMiddleware checks the header Host.
        scope = {**scope, "headers": [header for header in scope["headers"] if header[0] not in HOST_HEADERS]}
        path, client = get_route_path(scope), scope["state"]["client"]
        is_allowed = ALLOWED_ROUTES.fullmatch(path) is not None and self._may_request(scope, path, client)
        if is_allowed and scope["method"] == "POST" and JSON_ROUTES.fullmatch(path):
            body = await _read_body(receive)
            is_allowed = self._may_send(body, client)
            receive = _replay(body, receive)
        if is_allowed and scope["method"] == "POST" and UPLOAD_ROUTE.fullmatch(path):
            await run_in_threadpool(self._check_quota, client, self._ownership.file_bytes(client))
        if not is_allowed:
            await error_response(404, "not found")(scope, receive, send)
        elif scope["method"] == "POST" and RECORDED_ROUTES.fullmatch(path):
            headers = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]  # plain JSON
            await self._app({**scope, "headers": headers}, receive, self._record(send, client))
        else:
            await self._app(scope, receive, send)

    def _may_request(self, scope: Scope, path: str, client: str) -> bool:
        """Check the names in the URL."""
        if path.startswith(FILE_ROUTE):
            return self._ownership.may_read(path.removeprefix(FILE_ROUTE), client)
        query = parse_qs(scope["query_string"].decode("latin-1"))
        sessions = [*query.get("session_hash", ()), *(f"upload {id}" for id in query.get("upload_id", ()))]
        match = ID_ROUTES.fullmatch(path)
        if match is not None and path.startswith("/gradio_api/heartbeat/"):
            sessions.append(match[1])
        elif match is not None and not self._ownership.is_owner(match[1], client):
            return False
        return all(self._ownership.claim(session, client) for session in sessions)

    def _may_send(self, body: bytes, client: str) -> bool:
        """Check the names in a JSON body; Gradio rejects what is not JSON."""
        content = _parse_json(body)
        if not isinstance(content, dict):
            return True
        session, event = content.get("session_hash"), content.get("event_id")
        if isinstance(session, str) and not self._ownership.claim(session, client):
            return False
        if isinstance(event, str) and not self._ownership.is_owner(event, client):
            return False
        return all(self._ownership.may_send(path, client) for path in _find_paths(content))

    def _record(self, send: Send, client: str) -> Send:
        """Wrap `send` so that the event or the files of the response belong to the client."""
        body = b""

        async def send_recorded(message: Message) -> None:
            nonlocal body
            if message["type"] == "http.response.body":
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    content = _parse_json(body)
                    if isinstance(content, dict) and isinstance(content.get("event_id"), str):
                        self._ownership.add(content["event_id"], client)
                    for path in content if isinstance(content, list) else ():
                        self._ownership.add_file(str(path), client)
            await send(message)

        return send_recorded


def _parse_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


async def _read_body(receive: Receive) -> bytes:
    """Read a body, which BodyLimitMiddleware limits."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a function that returns a body that was read, then what the client sends."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return messages.pop() if messages else await receive()

    return receive_again
