"""Small pieces of HTML that all of the page is made of. What is given as text is escaped here."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr


def html(content: str, **settings: Any) -> gr.HTML:
    """A part of the page that holds HTML, in the page's own style."""
    return gr.HTML(content, apply_default_css=False, **settings)


def card(content: str, kind: str = "", role: str = "") -> str:
    """A box around HTML. kind: "", good, warn or bad."""
    named = f' role="{role}"' if role else ""
    return f'<div class="page card {kind}"{named}>{content}</div>'


def refusal(sentence: object) -> str:
    """Why something cannot be had, as one sentence."""
    return card(f"<p>{escape(str(sentence))}</p>", "bad", "alert")


FAULT = refusal("this did not work: choose other files, or ask whoever runs the server, whose log says why")


def empty(title: str, text: str) -> str:
    """Where there is nothing yet, and what to do about it."""
    return f'<div class="empty"><b>{escape(title)}</b>{escape(text)}</div>'


def progress(title: str, detail: str, share: float | None) -> str:
    """A bar. share: of the work that is done, None where that is not known."""
    line = f'<div class="progress"><b>{escape(title)}</b><span class="soft">{escape(detail)}</span></div>'
    if share is None:
        bar = '<div class="bar waits"><i></i></div>'
    else:
        percent = f"{100 * min(max(share, 0.0), 1.0):.1f}"
        bar = f'<div class="bar" role="progressbar" aria-valuenow="{percent}" aria-valuemin="0" aria-valuemax="100">'
        bar += f'<i style="width:{percent}%"></i></div>'
    return card(line + bar, role="status")
