"""A face and a sound in, a video of that face saying that sound out."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from os import PathLike
from pathlib import Path

import numpy as np
import torch

from face_detection import Detector, build_detector
from face_detection.build import COMPAT
from models import Wav2Lip
from wav2lip.audio import MEL_BANDS, SAMPLE_RATE, mel_pieces
from wav2lip.checkpoints import load_network
from wav2lip.crops import Pads, cut, from_network, generator_input, paste, resize, to_network
from wav2lip.devices import choose_device
from wav2lip.errors import InputError
from wav2lip.face_boxes import Box, boxes_to_paint, boxes_to_paint_public, detect_faces, no_face_in
from wav2lip.face_source import MISSING, NO_FRAMING, FaceSource, Framing
from wav2lip.media import VideoWriter, probe, read_audio
from wav2lip.windows import WINDOW_COLUMNS, InferenceWindows

log = logging.getLogger(__name__)

PathType = str | PathLike[str]
OnProgress = Callable[[str, int, int], object]  # stage, frames done, frames in all
BuildDetector = Callable[[int, str], Detector]  # from pictures at a time and Options.compat

CPU_BATCH = 8  # frames; a larger batch leaves the caches and is slower on a CPU
DEFAULT_PADS = Pads()


@dataclass(frozen=True)
class Options:
    """How a result is made; the defaults are those of the command line."""

    static: bool = False  # use only the first frame of a video
    fps: float = 25.0  # frames a second, for still pictures only
    pads: Pads = DEFAULT_PADS  # pixels added to detected boxes
    framing: Framing = NO_FRAMING  # shrinking, turning and cutting of the frames
    box: tuple[int, int, int, int] | None = None  # top, bottom, left, right: a fixed face box, no detection
    smooth: bool = True  # smooth boxes over time
    strict: bool = False  # stop at a frame without a face instead of passing it through
    face_det_batch_size: int = 16  # frames; cut down on a CPU
    wav2lip_batch_size: int = 128  # frames; cut down on a CPU
    compat: str = "none"  # "public": the release's windows, boxes and frame rates

    def __post_init__(self) -> None:
        for flag in ("face_det_batch_size", "wav2lip_batch_size"):
            if getattr(self, flag) < 1:
                raise InputError(f"--{flag} is {getattr(self, flag)}; give a whole number from 1 up")
        if self.compat not in COMPAT:
            raise InputError(f"--compat is {self.compat}; choose one of {', '.join(COMPAT)}")


DEFAULTS = Options()


@dataclass(frozen=True)
class Result:
    """What was made."""

    outfile: Path
    frames: int
    fps: Fraction
    without_face: list[tuple[float, float]]  # spans in seconds, from and to, whose frames passed through unchanged


class LipSync:
    """A generator kept ready for any number of requests."""

    def __init__(self, generator: Wav2Lip, device: torch.device, detector: BuildDetector):
        """detector: called when a face has to be found and the last one built was for other options."""
        self.generator = generator.to(device).eval()
        self.device = device
        self._detector = lru_cache(maxsize=1)(detector)

    @classmethod
    def from_checkpoint(
        cls, path: PathType, device: str = "auto", detector: str = "auto", s3fd_weights: PathType | None = None
    ) -> LipSync:  # fmt: skip
        """A generator of this project or the public release.

        device: auto, cpu, cuda, cuda:N or mps. detector: auto, s3fd, mtcnn, haar. s3fd_weights: file of S3FD's weights.
        Raises: InputError if the checkpoint cannot be used or the device is not there.
        """
        chosen = choose_device(device)
        weights = None if s3fd_weights is None else Path(s3fd_weights)
        return cls(
            load_network(path, Wav2Lip),
            chosen,
            lambda batch_size, compat: build_detector(
                detector, weights=weights, device=chosen, batch_size=batch_size, compat=compat
            ),
        )

    def __call__(
        self, face: PathType, audio: PathType, outfile: PathType = "results/result_voice.mp4",
        options: Options = DEFAULTS, progress: OnProgress | None = None,
    ) -> Result:  # fmt: skip
        """Make a video.

        face: video or picture with a face. audio: any file with sound, a video included. outfile: its folder is made.
        progress: called with a stage, frames done and frames in all.
        Raises: InputError naming the file that cannot be used; then there is no outfile.
        """
        for given in (face, audio):
            if _same_file(given, outfile):
                raise InputError(f"{outfile}: would replace the file it is made from; give another --outfile")
        source = FaceSource(
            face, still_fps=options.fps, static=options.static, framing=options.framing, compat=options.compat
        )
        windows = sound_windows(audio, source.fps, options.compat)
        report = progress or (lambda *_: None)
        with VideoWriter(outfile, source.fps, audio) as video:
            boxes = self.find_boxes(source, len(windows), options, report)
            for done, frame in enumerate(self.frames(source, windows, boxes, options), start=1):
                video.write(frame)
                report("lips", done, len(windows))
        shown = [boxes[i % len(boxes)] for i in range(len(windows))]
        return Result(Path(outfile), len(windows), source.fps, _spans_without(shown, float(source.fps)))

    def find_boxes(
        self, source: FaceSource, frames: int, options: Options = DEFAULTS, report: OnProgress = lambda *_: None
    ) -> list[Box | None]:
        """The face box of each source frame that will be shown, None where there is no face.

        frames: length of the result; a longer video is read no further.
        Raises: InputError if there is no face at all, or with strict or compat="public" if one frame has none.
        """
        shown = itertools.islice(source.frames(), frames)
        if options.box is not None:
            return _fixed_box(options.box, shown)
        batch_size = self._at_most(options.face_det_batch_size)
        done = 0

        def advance(more: int) -> None:
            nonlocal done
            done += more
            report("faces", done, 1 if source.static else frames)

        faces, size = detect_faces(self._detector(batch_size, options.compat), shown, batch_size, advance)
        if options.compat == "public":
            return boxes_to_paint_public(faces, options.pads, size, options.smooth)
        boxes = boxes_to_paint(faces, options.pads, size, options.smooth)
        if all(box is None for box in boxes):
            if any(faces):
                raise InputError(f"--pads leave nothing of the face boxes of {source.path}; give larger ones")
            raise InputError(f"{source.path}: no face found in any of its {len(boxes)} frames; give a --box or another")
        if options.strict and None in boxes:
            raise InputError(no_face_in(boxes.index(None), "--strict"))
        return boxes

    def frames(
        self, source: FaceSource, windows: InferenceWindows, boxes: Sequence[Box | None], options: Options = DEFAULTS
    ) -> Iterator[np.ndarray]:
        """The finished frames, (H, W, 3) uint8 RGB, one for each window; a batch of them is in memory at a time.

        boxes: of the source's frames in order; a result longer than the source begins it again.
        """
        batch_size = self._at_most(options.wav2lip_batch_size)
        numbered = enumerate(itertools.islice(_looped(source, len(boxes)), len(windows)))
        while batch := list(itertools.islice(numbered, batch_size)):
            painted = [(number, frame, box) for number, (index, frame) in batch if (box := boxes[index]) is not None]
            if painted:
                size = self.generator.resolution
                crops = np.stack([resize(cut(frame, box), size, size) for _, frame, box in painted])
                mels = np.stack([windows[number][None] for number, _, _ in painted])
                for (_, frame, box), face in zip(painted, self.repaint(crops, mels), strict=True):
                    paste(frame, face, box)
            yield from (frame for _, (_, frame) in batch)

    def _at_most(self, batch_size: int) -> int:
        return min(batch_size, CPU_BATCH) if self.device.type == "cpu" else batch_size

    @torch.inference_mode()
    def repaint(self, crops: np.ndarray, mels: np.ndarray) -> np.ndarray:
        """New lips for face crops.

        crops: (N, R, R, 3) uint8 RGB, R the generator's resolution. mels: (N, 1, 80, 16) float32.
        Returns: (N, R, R, 3) uint8 RGB.
        """
        faces = to_network(torch.from_numpy(crops).to(self.device))
        out = self.generator(torch.from_numpy(mels).to(self.device), generator_input(faces, faces))
        return from_network(out).cpu().numpy()


def sound_windows(audio: PathType, fps: Fraction, compat: str = "none") -> InferenceWindows:
    """The mel windows of a sound file at a frame rate.

    Raises: InputError if the file has no sound, holds values that are not numbers, or is too short for compat="public".
    """
    samples, columns = 0, np.zeros((0, MEL_BANDS), np.float32)

    def sound() -> Iterator[np.ndarray]:
        nonlocal samples
        for block in read_audio(audio, SAMPLE_RATE):
            if not np.isfinite(block).all():
                raise InputError(f"{audio}: holds values that are not numbers; export the sound again as 16-bit PCM")
            samples += len(block)
            yield block

    stated = probe(audio).seconds
    for piece in mel_pieces(sound()):
        before = len(columns)
        columns.resize((before + piece.shape[1], MEL_BANDS), refcheck=False)  # in place: two hours are 184 MB
        columns[before:] = piece.T
    seconds = samples / SAMPLE_RATE
    if not samples:
        raise InputError(f"{audio}: its audio track is empty; give a file with sound")
    if seconds < stated - MISSING:
        log.warning(f"{audio}: its sound lasts {seconds:.1f} s of the {stated:.1f} s that it states")
    if compat == "public":
        if len(columns) < WINDOW_COLUMNS:
            raise InputError(f"{audio}: {seconds:.2f} s of sound are too short; give at least 0.2 s")
        return InferenceWindows.public(columns.T, float(fps))
    return InferenceWindows.covering(columns.T, samples, float(fps))


def _same_file(given: PathType, outfile: PathType) -> bool:
    try:
        return Path(given).samefile(outfile)
    except OSError:  # one of them does not exist
        return False


def _fixed_box(box: tuple[int, int, int, int], frames: Iterator[np.ndarray]) -> list[Box | None]:
    top, bottom, left, right = box
    count, height, width = 0, 0, 0
    for frame in frames:
        height, width = frame.shape[:2]
        count += 1
    if not (0 <= top < bottom <= height and 0 <= left < right <= width):
        raise InputError(
            f"--box {top} {bottom} {left} {right} (top bottom left right) does not lie in a frame of {width} x {height}"
        )
    return [(left, top, right, bottom)] * count


def _looped(source: FaceSource, frames: int) -> Iterator[tuple[int, np.ndarray]]:
    """(index, frame) of the first `frames` frames, over and over."""
    return ((index, frame) for index, frame in source.forever() if index < frames)


def _spans_without(boxes: Sequence[Box | None], fps: float) -> list[tuple[float, float]]:
    """Where there is no box, as spans of seconds."""
    spans, number = [], 0
    for missing, run in itertools.groupby(boxes, key=lambda box: box is None):
        length = len(list(run))
        if missing:
            spans.append((number / fps, (number + length) / fps))
        number += length
    return spans
