"""Live tab: speak into the microphone, and a prepared face answers; live.js runs the session."""

from __future__ import annotations

from wav2lip.serve.live.messages import MAX_TEXT_CHARACTERS
from wav2lip.serve.ui.html import html_block, placeholder

SCRIPT = 'import(new URL("page/scripts/live.js", document.baseURI)).then((script) => script.mount(element));'
NOT_AVAILABLE = placeholder(
    "No prepared faces", "Start the server with --live_faces DIR, a folder of files of python -m wav2lip.prepare."
)
INTRO = (
    "Choose a face, start, and speak: the face says it about half a second later. Use headphones, or let the browser "
    "cancel the echo."
)
CONTENT = f"""<div class="page live">
<p class="intro">{INTRO}</p>
<div class="live-columns">
  <div class="live-controls">
    <label>Face <select data-role="face"></select></label>
    <label><input type="checkbox" data-role="microphone" checked> Microphone</label>
    <label><input type="checkbox" data-role="echo" checked> Cancel echo and noise</label>
    <div class="actions">
      <button type="button" data-action="start" disabled>Start</button>
      <button type="button" data-action="interrupt" hidden>Interrupt</button>
      <button type="button" data-action="stop" hidden>Stop</button>
    </div>
    <form class="actions" data-role="text" hidden>
      <input type="text" maxlength="{MAX_TEXT_CHARACTERS}" placeholder="Text to say" aria-label="Text to say" required>
      <button>Say</button>
    </form>
    <p class="muted" role="status" data-role="status"></p>
  </div>
  <video data-role="video" playsinline></video>
</div>
</div>"""


def build_live_tab(is_available: bool) -> None:
    """Build the tab. is_available: the server has prepared faces."""
    if is_available:
        html_block(CONTENT, js_on_load=SCRIPT, elem_id="live")
    else:
        html_block(NOT_AVAILABLE)
