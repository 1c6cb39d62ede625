"""The stage that gives faces their new lips."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator

import numpy as np

from wav2lip.crops import cut, resize
from wav2lip.lipsync.blending import Blend
from wav2lip.lipsync.repaint import Repainter
from wav2lip.lipsync.shown import Shown
from wav2lip.lipsync.silence import Silence
from wav2lip.lipsync.turning import ViewOf, as_it_is
from wav2lip.windows import Windows

LARGEST = 256 << 20  # bytes of the frames of a batch: 41 of 1920 x 1080, 10 of 3840 x 2160


def paint(
    shown: Iterable[Shown], windows: Windows, repaint: Repainter, batch_size: int, blend: Blend,
    silence: Silence | None = None, view_of: ViewOf = as_it_is,
) -> Generator[Shown, None, None]:  # fmt: skip
    """The same frames, their targets repainted; `batch_size` frames are in memory at a time, fewer large ones.

    silence: what the generator is shown and told while nobody speaks; None: the frame and the sound as ever.
    view_of: where a face is painted, in its frame or upright.
    """
    top = int(blend.unused * repaint.resolution)
    for batch in _batches(shown, batch_size):
        jobs = [(one, target) for one in batch for target in one.targets]
        for first in range(0, len(jobs), batch_size):
            some = jobs[first : first + batch_size]
            size = repaint.resolution
            views = [view_of(*job) for job in some]
            crops = np.stack([resize(cut(view.shown.frame, view.target.box), size, size) for view in views])
            mels = np.stack([windows[one.number][None] for one, _ in some])
            references = None
            if silence is not None:
                mels = np.stack([silence.mel(one.number, mel) for (one, _), mel in zip(some, mels, strict=True)])
                references = np.stack([
                    silence.reference(*job, crop) for job, crop in zip(some, crops, strict=True)
                ])  # fmt: skip
            for view, crop, face in zip(views, crops, repaint(crops, mels, references, top), strict=True):
                blend(view.shown, view.target, crop, face)
                view.put_back()
        yield from batch


def _batches(shown: Iterable[Shown], size: int) -> Iterator[list[Shown]]:
    """Lists of `size` frames, of fewer where those would be larger than LARGEST."""
    batch: list[Shown] = []
    for one in shown:
        batch.append(one)
        if len(batch) == max(1, min(size, LARGEST // one.frame.nbytes)):
            yield batch
            batch = []
    if batch:
        yield batch
