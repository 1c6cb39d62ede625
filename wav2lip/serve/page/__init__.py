"""The web page."""

from __future__ import annotations

import gradio as gr

from wav2lip.serve.service import Service


def build(service: Service) -> gr.Blocks:
    """The page, whose functions get the client as gr.Request.username."""
    with gr.Blocks(title="Wav2Lip") as page:
        gr.Markdown(f"Models: {', '.join(service.generators.names)}")
    return page
