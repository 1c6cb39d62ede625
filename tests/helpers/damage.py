"""Damaged variants of valid files for Hypothesis, which shrinks those that fail."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

MAX_CHANGES = 6
HEAD_BYTES = 400  # sizes, types and counts of most formats
BOUNDED = settings(
    max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@st.composite
def damaged(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """Return a seed with some bytes replaced, its end cut off, or other bytes inserted; sometimes no seed at all."""
    content = bytearray(draw(st.sampled_from([*seeds, b""])))
    for _ in range(draw(st.integers(0, MAX_CHANGES)) if content else 0):
        last = len(content) - 1
        at = draw(st.one_of(st.integers(0, min(last, HEAD_BYTES)), st.integers(0, last)))
        content[at] = draw(st.integers(0, 255))
    if content and draw(st.booleans()):
        del content[draw(st.integers(0, len(content))) :]
    at = draw(st.integers(0, len(content)))
    content[at:at] = draw(st.binary(max_size=20))
    return bytes(content)
