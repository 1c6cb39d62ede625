"""HTML components of the page; arguments named text, title or detail are escaped here."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

SCRIPT = Path(__file__).with_name("players.js").read_text(encoding="utf-8")  # of blocks with media and buttons


def html_block(content: str, **settings: Any) -> gr.HTML:
    """Create a Gradio component that shows HTML in the style of the page."""
    return gr.HTML(content, apply_default_css=False, **settings)


def card(content: str, kind: str = "", role: str = "") -> str:
    """Draw a box around HTML. kind: "", good, warn or bad."""
    attribute = f' role="{role}"' if role else ""
    return f'<div class="page card {kind}"{attribute}>{content}</div>'


def error_card(text: object) -> str:
    """Show an error message."""
    return card(f"<p>{escape(str(text))}</p>", "bad", "alert")


INTERNAL_ERROR = error_card("internal error: try other files; the server's log has the details")


def placeholder(title: str, text: str) -> str:
    """Return a placeholder for an empty area, with instructions."""
    return f'<div class="empty"><b>{escape(title)}</b>{escape(text)}</div>'


def progress_bar(title: str, detail: str, fraction: float | None) -> str:
    """Draw a progress bar. fraction: completed part, None if unknown."""
    line = f'<div class="progress"><b>{escape(title)}</b><span class="muted">{escape(detail)}</span></div>'
    if fraction is None:
        bar = '<div class="bar indeterminate"><i></i></div>'
    else:
        percent = f"{100 * min(max(fraction, 0.0), 1.0):.1f}"
        bar = f'<div class="bar" role="progressbar" aria-valuenow="{percent}" aria-valuemin="0" aria-valuemax="100">'
        bar += f'<i style="width:{percent}%"></i></div>'
    return card(line + bar, role="status")
