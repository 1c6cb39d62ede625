"""How much there is to learn from, and to judge by."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from train.data.samples import Windows
from wav2lip.windows import FPS, WINDOW_FRAMES


@dataclass(frozen=True)
class Amount:
    """What the training and the validation list hold."""

    seconds: float  # of face crops to train on
    clips: int
    groups: int  # folders that these clips are in: speakers, or recordings
    independent: int  # windows of a validation that share no frame with one another, at most

    @classmethod
    def of(cls, train: Sequence[Windows], val: Windows, roots: Collection[Path], eval_windows: int) -> Amount:
        """Count the windows trained on, and those of a validation that looks at `eval_windows` of its windows.

        roots: the data roots that clips are in.
        """
        frames = sum(int(windows.windows.runs.count.sum()) for windows in train)
        clips = [clip for windows in train for clip in windows.clips]
        apart = int((val.windows.runs.count // WINDOW_FRAMES).sum())
        return cls(frames / FPS, len(clips), len(groups(clips, roots)), min(eval_windows, apart))

    def in_words(self) -> str:
        """As one says it."""
        return (f"{duration(self.seconds)} in {self.clips} clip{'s' * (self.clips != 1)} of {self.groups} "
                f"folder{'s' * (self.groups != 1)}")  # fmt: skip


def groups(clips: Iterable[str], roots: Collection[Path]) -> set[Path]:
    """The folders that clips are in; a clip that lies in a data root itself is a group of its own."""
    paths = map(Path, clips)
    return {clip if clip.parent in roots else clip.parent for clip in paths}


def duration(seconds: float) -> str:
    """A time in the unit that reads best."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.3g} minutes" if seconds < 3600 else f"{seconds / 3600:.1f} hours"
