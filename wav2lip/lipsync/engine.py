"""The stages of a result, put together."""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import lru_cache
from os import PathLike
from pathlib import Path

import numpy as np
import torch

from face_detection import Detector, DetectorError, build_detector
from models import Wav2Lip
from wav2lip.audio import SAMPLE_RATE
from wav2lip.devices import choose_devices, inference_dtype
from wav2lip.errors import InputError
from wav2lip.lipsync.ahead import ahead, as_one
from wav2lip.lipsync.blending import build_blend
from wav2lip.lipsync.closed_mouth import AT_A_TIME, ClosedMouths
from wav2lip.lipsync.enhancing import enhance
from wav2lip.lipsync.exported import load_generator
from wav2lip.lipsync.finders import fixed, followed, known, public_boxes
from wav2lip.lipsync.given import FrameArray, PathType, Sound, sound_file
from wav2lip.lipsync.likeness import Describe, appearance
from wav2lip.lipsync.mel_stream import MelStream
from wav2lip.lipsync.options import DEFAULTS, OnProgress, Options, Result
from wav2lip.lipsync.painting import paint
from wav2lip.lipsync.provenance import note, short_hash
from wav2lip.lipsync.repaint import LipGenerator, Repainter
from wav2lip.lipsync.restorers import load_restorer
from wav2lip.lipsync.shown import Shown
from wav2lip.lipsync.silence import Silence
from wav2lip.lipsync.sound import sound_windows
from wav2lip.lipsync.source import FaceSource
from wav2lip.lipsync.stream import IsCancelled, Stream, never, watched
from wav2lip.lipsync.timeline import Finder, Source, expected_frames, play
from wav2lip.lipsync.turning import ViewOf, as_it_is, upright
from wav2lip.lipsync.voice import openness, voiced
from wav2lip.media import VideoWriter, read_audio
from wav2lip.windows import Windows

Faces = PathType | np.ndarray | Source
BuildDetector = Callable[[int, str], Detector]  # from pictures at a time and Options.compat

FOUND = 32  # frames whose faces are known before they are painted, on a GPU
FINISHED = 8  # frames painted before they are written

log = logging.getLogger(__name__)


class LipSync:
    """A generator kept ready for any number of requests, from any number of threads at once."""

    def __init__(
        self,
        generator: Wav2Lip | LipGenerator,
        device: torch.device | Sequence[torch.device],
        detector: BuildDetector,
        checkpoint: str | None = None,
        describe: Describe = appearance,
    ):
        """device: several share the faces out among them.
        detector: called when a face has to be found and the last one built was for other options.
        checkpoint: what results call the weights in their metadata.
        describe: tells persons apart for options.face_at and face_like; vectors of another kind need another alike.
        """
        self.describe = describe
        self.repainter = Repainter(generator, device)
        self.device = self.repainter.devices[0]
        self.checkpoint = checkpoint
        self._build_detector = detector
        self._built: tuple[tuple[int, str], Detector] | None = None  # the last detector, and what it was built for
        self._building = threading.Lock()
        self._marks: Detector | None = None  # what finds landmarks for closed mouths
        self._restorer = lru_cache(maxsize=2)(lambda path, _version: load_restorer(path, self.device))

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
        generator = load_generator(path)
        return cls(
            generator,
            chosen,
            lambda batch_size, compat: build_detector(
                detector,
                weights=weights,
                device=chosen[0],
                batch_size=batch_size,
                compat=compat,
                dtype=inference_dtype(chosen[0]),
            ),
            short_hash(path),
        )

    def __call__(
        self, face: Faces, audio: Sound, outfile: PathType = "results/result_voice.mp4",
        options: Options = DEFAULTS, progress: OnProgress | None = None, cancelled: IsCancelled = never,
    ) -> Result:  # fmt: skip
        """Make a video.

        face, audio, options, cancelled: as of `stream`. outfile: its folder is made.
        progress: called with a stage, frames done and frames in all. What it raises ends the work.
        Raises: InputError naming the file that cannot be used; Cancelled. Then there is no outfile.
        """
        for given in (face, audio):
            if isinstance(given, str | PathLike) and _same_file(given, outfile):
                raise InputError(f"{outfile}: would replace the file it is made from; give another --outfile")
        report = progress or (lambda *_: None)
        comment = note(self.checkpoint) if options.metadata else None
        cut = options.fit == "trim"
        with (
            self.stream(face, audio, options, cancelled) as made,
            VideoWriter(outfile, made.fps, made.sound, options.encoding, cut_sound=cut, comment=comment) as video,
        ):
            for frame in made:
                video.write(frame)
                report("lips", made.taken, made.length)
        return Result(Path(outfile), made.taken, made.fps, made.without_face)

    def stream(
        self, face: Faces, audio: Sound, options: Options = DEFAULTS, cancelled: IsCancelled = never
    ) -> Stream:  # fmt: skip
        """The frames of a result, one after the other, without a file; close it where they are not all taken.

        face: file of a video or a picture with a face; an array (N, H, W, 3) of frames or (H, W, 3) of a still, uint8
            RGB, shown at options.fps; or any Source, whose frames can be read again.
        audio: any file with sound, a video included; or samples (n,) or (n, channels) with their rate in Hz. Samples
            are kept in a temporary file until this is closed.
        cancelled: asked for each frame, by the threads that read and take them; once it says True, Cancelled is raised.
        Raises: InputError naming what cannot be used.
        """
        with contextlib.ExitStack() as held:
            sound = held.enter_context(sound_file(audio))
            source = _source_of(face, options)
            windows = sound_windows(sound, source.fps, options.compat)
            if isinstance(windows, MelStream):
                held.callback(windows.close)  # before the sound's folder goes
            silence = self.silence(source, sound, len(windows), options, cancelled)
            shown = self.shown(source, windows, options, cancelled, silence)
            length = expected_frames(len(windows), source.stated_frames, options.fit, options.short)
            return Stream(shown, length, len(windows), source.fps, sound, held.pop_all(), cancelled)

    def shown(
        self,
        source: Source,
        windows: Windows,
        options: Options = DEFAULTS,
        cancelled: IsCancelled = never,
        silence: Silence | None = None,
    ) -> Generator[Shown, None, None]:
        """The finished frames, one for each window but for what options.fit and options.short say.

        A bounded number of them is in memory, whatever the length.
        """
        enhanced = self._enhancement(options)

        def made() -> Generator[Shown, None, None]:
            find = self.finder(source, len(windows), options, cancelled)
            found = self._beside(
                play(source, lambda frames: find(watched(frames, cancelled)), len(windows), options.fit, options.short)
            )
            blend = build_blend("box" if options.compat == "public" else options.blend)
            repaint = self.repainter.in_precision(options.generator_precision)
            at_once = repaint.at_once(options.wav2lip_batch_size)
            painted = paint(found, windows, repaint, at_once, blend, silence, view_of(options))
            yield from as_one(found, painted, enhanced(painted))

        return ahead(made(), FINISHED, lambda one: one.frame.nbytes)

    def _beside(self, stage: Generator[Shown, None, None]) -> Generator[Shown, None, None]:
        """The stage in a thread of its own where a GPU computes; on a CPU two networks at once hinder each other."""
        return stage if self.device.type == "cpu" else ahead(stage, FOUND, lambda one: one.frame.nbytes)

    def silence(
        self, source: Source, audio: PathType, frames: int, options: Options, cancelled: IsCancelled = never
    ) -> Silence | None:  # fmt: skip
        """What the generator is shown and told while nobody speaks; None where that makes no difference.

        audio: the driving sound, of that many frames.
        """
        if options.silence == "off" or options.compat == "public":
            return None
        voice = voiced(watched(read_audio(audio, SAMPLE_RATE, on_problem=lambda _: None), cancelled))
        if not voice.any():
            log.warning("no voice is heard in the sound: mouths stay shut; with --silence off they do not")
        share = openness(voice, frames, float(source.fps))
        if share.min() == 1:
            return None
        pads = options.pads if options.box is None else None
        size = self.repainter.resolution
        closed = ClosedMouths(source, self._landmarker, pads, size, cancelled, view_of(options))
        return Silence(share, closed)

    def _landmarker(self) -> Detector | None:
        """What finds closed mouths, built once; None, and a line of the log, if it cannot be had."""
        with self._building:
            if self._marks is None:
                try:
                    self._marks = build_detector("mtcnn", device=self.repainter.devices[0], batch_size=AT_A_TIME)
                except DetectorError as error:
                    log.warning("in pauses the sound alone is faded, closed mouths are not looked for: %s", error)
            return self._marks

    def _enhancement(self, options: Options) -> Callable[[Generator[Shown, None, None]], Generator[Shown, None, None]]:
        """The stage that restores faces and frames, its networks loaded."""
        of_faces, of_frames = (
            None if path is None else self._restorer(Path(path), _version(Path(path)))
            for path in (options.enhancer, options.background_enhancer)
        )
        if of_frames is not None and of_frames.of_faces:
            raise InputError(f"{options.background_enhancer}: restores faces alone; give it as --enhancer")
        return lambda shown: enhance(shown, of_faces, of_frames, options.enhancer_strength, options.upscale)

    def finder(
        self, source: Source, frames: int, options: Options = DEFAULTS, cancelled: IsCancelled = never
    ) -> Finder:  # fmt: skip
        """What finds the faces of a source, of which that many frames are needed at most."""
        if options.box is not None:
            return fixed(options.box)
        batch_size = self.repainter.at_most(options.face_det_batch_size)
        detector = self._detector(batch_size, options.compat)
        if options.align and detector.name != "mtcnn":
            raise InputError(
                f"--align needs to know the eyes, which {detector.name} does not tell; add --detector mtcnn"
            )

        def shown() -> Iterator[np.ndarray]:
            return watched(itertools.islice(source.frames(), frames), cancelled)

        if options.compat == "public":
            return known(public_boxes(shown(), detector, batch_size, options, float(source.fps)))
        return followed(source, shown, frames, detector, options, self.describe)

    def _detector(self, batch_size: int, compat: str) -> Detector:
        with self._building:
            if self._built is None or self._built[0] != (batch_size, compat):
                self._built = (batch_size, compat), self._build_detector(batch_size, compat)
            return self._built[1]


def view_of(options: Options) -> ViewOf:
    """How faces are painted."""
    return upright if options.align else as_it_is


def _same_file(given: PathType, outfile: PathType) -> bool:
    try:
        return Path(given).samefile(outfile)
    except OSError:  # one of them does not exist
        return False


def _version(path: Path) -> tuple[int, int] | None:
    """What differs once a file was written anew: its time and size; None if it is not there."""
    try:
        told = path.stat()
    except OSError:  # whoever reads it says so
        return None
    return told.st_mtime_ns, told.st_size


def _source_of(face: Faces, options: Options) -> Source:
    if isinstance(face, np.ndarray):
        return FrameArray(face, options.fps, static=options.static, framing=options.framing, part=options.part)
    if isinstance(face, str | PathLike):
        source = FaceSource(
            face, still_fps=options.fps, static=options.static, framing=options.framing, part=options.part,
            compat=options.compat, most_pixels=options.most_pixels,
        )  # fmt: skip
        if options.box is not None and source.shrunk:
            raise InputError(
                f"{face}: is too large for a --box in its own pixels; give a --resize_factor or --crop too"
            )
        return source
    return face
