"""Framing: how face crops are cut out of frames. A generator works best on crops framed like its training data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from wav2lip.faces.boxes import Pads

COUNTS = ("smooth_window_frames", "stride_frames", "scan_frames", "scan_side")
KEY = "framing"  # key in clip.json, in dataset.json, among a checkpoint's extras and in an exported generator


@dataclass(frozen=True)
class FaceFraming:
    """Face boxes of a data set and of the checkpoints trained from it; a box that leaves the frame is clipped."""

    pads: Pads = field(default_factory=Pads)
    detector: str | None = None  # name, which defines a face box; None: unknown
    smooth_window_frames: int | None = None  # odd moving average of boxes at 25 fps, 1: none; None: unknown
    stride_frames: int | None = None  # frames at 25 fps between detections of a face; None: unknown
    scan_frames: int | None = None  # frames at 25 fps between detections in whole frames; None: unknown
    scan_side: int | None = None  # pixels to which whole frames are downscaled for it; None: unknown

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON and for checkpoints."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: object) -> FaceFraming:
        """Read what `to_json` returned; unknown keys, as of later versions, are ignored.

        Raises: ValueError if a value has the wrong type.
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"{KEY}: must be a mapping, got {type(values).__name__}")
        pads, detector = values.get("pads", {}), values.get("detector")
        counts = [values.get(name) for name in COUNTS]
        if not isinstance(pads, Mapping) or not all(type(pads.get(side, 0)) is int for side in asdict(Pads())):
            raise ValueError(f"{KEY}: pads must be whole pixels for top, bottom, left and right, got {pads}")
        if not (detector is None or isinstance(detector, str)):
            raise ValueError(f"{KEY}: detector must be a name, got {detector}")
        if not all(count is None or (type(count) is int and count >= 1) for count in counts):
            raise ValueError(f"{KEY}: {', '.join(COUNTS)} must be 1 or more, got {counts}")
        return cls(Pads(**{side: pads.get(side, 0) for side in asdict(Pads())}), detector, *counts)


PUBLIC_FRAMING = FaceFraming(Pads(bottom=10))  # framing of upstream's inference, for files that state none


def resolve_pads(pads: tuple[int, int, int, int] | None, framing: FaceFraming | None, compat: str = "none") -> Pads:
    """Return the pads of a request.

    pads: its option; None for those of the checkpoint. framing: of the checkpoint; None: upstream's, which
    compat="public" selects too.
    """
    if pads is not None:
        return Pads(*pads)
    return (PUBLIC_FRAMING if framing is None or compat == "public" else framing).pads


def read_framing(extras: Mapping[str, Any]) -> FaceFraming | None:
    """Read the framing of a checkpoint from its extras; None if it is upstream's, which has no extras.

    Checkpoints of this project before the key existed were trained on crops without pads.
    Raises: ValueError if the framing is corrupt.
    """
    if not extras:
        return None
    return FaceFraming.from_json(extras[KEY]) if KEY in extras else FaceFraming()
