"""Gradio without what the page has no use for: files and addresses that clients merely name, and most of its routes."""

from __future__ import annotations

import re
from typing import Any

import gradio as gr
from gradio.blocks import BlockFunction
from gradio.exceptions import InvalidPathError
from gradio.state_holder import SessionState
from starlette.types import ASGIApp, Receive, Scope, Send

from wav2lip.serve.answers import answer

# What the page in a browser and gradio_client ask for. `file=` gives what was uploaded, and fetches no address.
USED = re.compile(
    r"/|/config/?|/theme\.css|/favicon\.ico|/manifest\.json|/robots\.txt|/(assets|static|svelte)/.+"
    r"|/gradio_api/(info|theme\.css|startup-events|queue/(join|data)|cancel|upload|upload_progress)/?"
    r"|/gradio_api/(heartbeat/[^/]+|call/.+|file=(?!https?://).+)",
    re.DOTALL,
)


class ClosedBlocks(gr.Blocks):
    """A page whose functions are given uploads alone. Gradio would fetch an address itself, of any size."""

    def take_uploads_alone(self) -> None:
        """Refuse what was not uploaded; to be called when the page is built. Gradio checks in launched pages only."""
        self.has_launched = True

    async def preprocess_data(
        self, block_fn: BlockFunction, inputs: list[Any], state: SessionState | None, explicit_call: bool = False
    ) -> list[Any]:
        """As Gradio does. Raises: gr.Error for a file that is an address, or that was not uploaded."""
        _check(inputs)
        try:
            processed: list[Any] = await super().preprocess_data(block_fn, inputs, state, explicit_call)
        except InvalidPathError as error:
            raise _refused() from error
        return processed


def _check(value: Any) -> None:
    """Raises: gr.Error if anything in a value of JSON is a file that is an address."""
    if isinstance(value, dict):
        if str(value.get("path")).startswith(("http://", "https://")):
            raise _refused()
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            _check(inner)


def _refused() -> gr.Error:
    return gr.Error("a file is named that was not uploaded; upload the file itself", print_exception=False)


class Gate:
    """ASGI application: Gradio's, of which only the routes in USED answer."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and USED.fullmatch(scope["path"]) is None:
            await answer(404, "there is nothing at this address")(scope, receive, send)
        else:
            await self._app(scope, receive, send)
