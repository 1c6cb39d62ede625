"""The stages of a result, put together."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Sequence
from functools import lru_cache
from os import PathLike
from pathlib import Path

import torch

from face_detection import Detector, build_detector
from models import Wav2Lip
from wav2lip.devices import choose_devices
from wav2lip.errors import InputError
from wav2lip.lipsync.ahead import ahead
from wav2lip.lipsync.blending import build_blend
from wav2lip.lipsync.exported import load_generator
from wav2lip.lipsync.finders import fixed, found_boxes, known, public_boxes
from wav2lip.lipsync.options import DEFAULTS, OnProgress, Options, Result
from wav2lip.lipsync.painting import paint
from wav2lip.lipsync.repaint import LipGenerator, Repainter
from wav2lip.lipsync.shown import Shown
from wav2lip.lipsync.sound import sound_windows
from wav2lip.lipsync.source import FaceSource
from wav2lip.lipsync.timeline import Finder, Source, expected_frames, play
from wav2lip.media import VideoWriter
from wav2lip.windows import InferenceWindows

PathType = str | PathLike[str]
BuildDetector = Callable[[int, str], Detector]  # from pictures at a time and Options.compat

FINISHED = 8  # frames painted before they are written


class LipSync:
    """A generator kept ready for any number of requests."""

    def __init__(
        self, generator: Wav2Lip | LipGenerator, device: torch.device | Sequence[torch.device], detector: BuildDetector
    ):
        """device: several share the faces out among them.
        detector: called when a face has to be found and the last one built was for other options.
        """
        self.repainter = Repainter(generator, device)
        self.device = self.repainter.devices[0]
        self._detector = lru_cache(maxsize=1)(detector)

    @classmethod
    def from_checkpoint(
        cls, path: PathType, device: str = "auto", detector: str = "auto", s3fd_weights: PathType | None = None
    ) -> LipSync:  # fmt: skip
        """A generator of this project or the public release, or one that `wav2lip.export` made of it.

        device: auto, cpu, cuda, cuda:N or mps, or several with commas between them, the first of which finds faces.
        detector: auto, s3fd, mtcnn, haar. s3fd_weights: file of S3FD's weights.
        Raises: InputError if the checkpoint cannot be used or the device is not there.
        """
        chosen = choose_devices(device)
        weights = None if s3fd_weights is None else Path(s3fd_weights)
        return cls(
            load_generator(path),
            chosen,
            lambda batch_size, compat: build_detector(
                detector, weights=weights, device=chosen[0], batch_size=batch_size, compat=compat
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
            face, still_fps=options.fps, static=options.static, framing=options.framing, part=options.part,
            compat=options.compat,
        )  # fmt: skip
        windows = sound_windows(audio, source.fps, options.compat)
        total = expected_frames(len(windows), source.stated_frames, options.fit, options.short)
        report = progress or (lambda *_: None)
        painted: list[bool] = []
        with VideoWriter(outfile, source.fps, audio) as video:
            for shown in self.shown(source, windows, options):
                video.write(shown.frame)
                painted.append(bool(shown.targets))
                report("lips", len(painted), total)
        without = _spans_without(painted[: len(windows)], float(source.fps))
        return Result(Path(outfile), len(painted), source.fps, without)

    def shown(
        self, source: Source, windows: InferenceWindows, options: Options = DEFAULTS
    ) -> Generator[Shown, None, None]:
        """The finished frames, one for each window but for what options.fit and options.short say.

        A bounded number of them is in memory, whatever the length.
        """
        find = self.finder(source, len(windows), options)
        found = play(source, find, len(windows), options.fit, options.short)
        blend = build_blend("box" if options.compat == "public" else options.blend)
        repaint = self.repainter.in_precision(options.generator_precision)
        made = paint(found, windows, repaint, repaint.at_once(options.wav2lip_batch_size), blend)
        return ahead(made, FINISHED)

    def finder(self, source: Source, frames: int, options: Options) -> Finder:
        """What finds the faces of a source, of which that many frames are needed at most."""
        if options.box is not None:
            return fixed(options.box)
        batch_size = self.repainter.at_most(options.face_det_batch_size)
        detector = self._detector(batch_size, options.compat)
        shown = itertools.islice(source.frames(), frames)
        if options.compat == "public":
            return known(public_boxes(shown, detector, batch_size, options))
        return known(found_boxes(shown, detector, batch_size, options, source.path))


def _same_file(given: PathType, outfile: PathType) -> bool:
    try:
        return Path(given).samefile(outfile)
    except OSError:  # one of them does not exist
        return False


def _spans_without(painted: Sequence[bool], fps: float) -> list[tuple[float, float]]:
    """Where no face was painted, as spans of seconds."""
    spans, number = [], 0
    for done, run in itertools.groupby(painted):
        length = len(list(run))
        if not done:
            spans.append((number / fps, (number + length) / fps))
        number += length
    return spans
