"""The SadTalker engine: a talking head from one photo and driving audio."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache, partial
from os import PathLike
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import torch

from face_detection import Detector
from face_detection.landmarks.detector import Landmarker
from models.sadtalker.generator import Generator as GeneratorNetwork
from wav2lip.audio.mel import SAMPLE_RATE
from wav2lip.audio.windows import FPS
from wav2lip.devices import choose_devices
from wav2lip.engine.face_location import DetectorPool
from wav2lip.engine.inputs import (
    PREPARED_FLAGS,
    AudioInput,
    FaceInput,
    audio_as_file,
    check_named_files,
    check_outfile,
    open_source,
)
from wav2lip.engine.interface import FrameItem, IsCancelled, OnProgress, Result, never
from wav2lip.engine.option_parsing import format_flags
from wav2lip.engine.prepared.file import is_prepared
from wav2lip.engine.result_stream import FrameStream, check_cancelled, provenance_comment
from wav2lip.engine.track_cache import user_cache
from wav2lip.errors import InputError
from wav2lip.media import VideoWriter
from wav2lip.prefetch import close_together, prefetch
from wav2lip.restoration.enhancement import RestorerCache, load_enhancer
from wav2lip.sadtalker.checkpoints import CheckpointFolder
from wav2lip.sadtalker.compositing import build_composition
from wav2lip.sadtalker.identity import Identity, build_identity, cut_face, frame_mouth, photo_coefficients
from wav2lip.sadtalker.intermediate_files import save_intermediate_files
from wav2lip.sadtalker.motion.coefficients import MotionSettings, ReferenceMotion, predict_coefficients
from wav2lip.sadtalker.motion.free_view import head_angles
from wav2lip.sadtalker.motion.reference_video import reference_coefficients
from wav2lip.sadtalker.networks import HeadNetworks, TorchHeadNetworks
from wav2lip.sadtalker.options import DEFAULTS, SadTalkerOptions, check_driving_audio
from wav2lip.sadtalker.renderer import TorchRenderer
from wav2lip.sadtalker.rendering import ClipMotion, Renderer, render_frames
from wav2lip.sadtalker.source.cropping import PASTED_MODES
from wav2lip.sadtalker.source.detection import build_photo_detector, build_photo_landmarker
from wav2lip.sadtalker.source.points_file import read_points
from wav2lip.sadtalker.source.portrait import Portrait, PortraitFinder, check_face
from wav2lip.sadtalker.speech import SpeechMel, load_speech, silent_speech
from wav2lip.types import PathType

NUM_FINISHED_AHEAD = 8  # frames
MAX_DETECTION_BATCH = 8  # frames
IDENTITY_FLAGS = PREPARED_FLAGS - {"--fps", "--face_det_batch_size"} | {"--points"}  # settled by a prepared face
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

FrameGenerator = Generator[FrameItem, None, None]
Stage = Callable[[FrameGenerator], FrameGenerator]


class MouthStage(Protocol):
    """Draw the mouth of a Wav2Lip generator into rendered frames."""

    def find_box(self, frame: np.ndarray, box: np.ndarray) -> np.ndarray:
        """Return the box (4,) of a face of a frame (H, W, 3) as in the generator's training data; box: any other."""

    def __call__(self, items: Iterable[FrameItem], audio: PathType, fps: Fraction) -> FrameGenerator:
        """Yield the frames with another mouth. audio: file with the driving audio. fps: of the frames."""


LoadMouth = Callable[[Path], MouthStage]
LoadLandmarker = Callable[[str], Landmarker | None]


def _ignore(stage: str, done: int, total: int) -> None:
    pass


@dataclass(frozen=True)
class EngineNetworks:
    """Networks of one size of the renderer."""

    head: HeadNetworks
    renderer: Callable[[str], Renderer]  # takes a precision: auto, fp32, bf16 or fp16
    checkpoint: str  # hash of the file with the renderer


class SadTalker:
    """Generate videos of a talking head from a photo; thread-safe, for any number of requests."""

    def __init__(
        self, load_networks: Callable[[int], EngineNetworks], detectors: DetectorPool, restorers: RestorerCache,
        load_landmarker: LoadLandmarker = lambda compat: None, load_mouth: LoadMouth | None = None,
    ):  # fmt: skip
        """load_networks: called with the pixels of the renderer; the engine keeps the result.

        load_landmarker: called with options.compat; returns None for the five landmarks of the detector.
        load_mouth: loads options.mouth.
        """
        self._load_networks = lru_cache(None)(load_networks)
        self._detectors, self._restorers = detectors, restorers
        self._landmarker = lru_cache(None)(load_landmarker)
        self._load_mouth = None if load_mouth is None else lru_cache(2)(load_mouth)

    @classmethod
    def from_checkpoint(
        cls, path: PathType, device: str = "auto", detector: str = "auto", s3fd_weights: PathType | None = None,
        landmark_weights: PathType | None = None, old_version: bool = False, load_mouth: LoadMouth | None = None,
    ) -> SadTalker:  # fmt: skip
        """Load the published checkpoints.

        path: folder with the files, see docs/sadtalker.md. device: auto, cpu, cuda, cuda:N or mps, or several separated
            by commas, the first of which runs everything but the renderer.
        detector: retinaface, mtcnn, s3fd, haar or auto, see `build_photo_detector`.
        landmark_weights: file of 2DFAN4, used without FAN-98 in the folder; see `build_landmarker`.
        old_version: use the files of version 0.0.1.
        Raises: InputError if the folder or a named file is missing, or the device is unavailable.
        """
        check_named_files({"--s3fd_weights": s3fd_weights, "--landmark_weights": landmark_weights})
        devices = choose_devices(device)

        def load_networks(size: int) -> EngineNetworks:
            folder = CheckpointFolder(path, size, old_version)

            @lru_cache(2)
            def renderer(precision: str) -> Renderer:
                return TorchRenderer(cast(GeneratorNetwork, folder.load("generator")), devices, DTYPES.get(precision))

            return EngineNetworks(TorchHeadNetworks(folder.load, devices[0]), renderer, folder.hash)

        def build_detector(batch_size: int, compat: str) -> Detector:
            return build_photo_detector(path, detector, s3fd_weights, devices[0], batch_size, compat)

        def load_landmarker(compat: str) -> Landmarker | None:
            return build_photo_landmarker(path, landmark_weights, devices[0], compat)

        return cls(load_networks, DetectorPool(build_detector), RestorerCache(devices[0]), load_landmarker, load_mouth)

    def __call__(
        self, face: FaceInput, audio: AudioInput | None, outfile: PathType = "results/talking_head.mp4",
        options: SadTalkerOptions = DEFAULTS, progress: OnProgress | None = None, is_cancelled: IsCancelled = never,
        intermediate_dir: Path | None = None,
    ) -> Result:  # fmt: skip
        """Write a video.

        face, audio, options, is_cancelled: see `stream`. outfile: missing folders are created.
        progress: called with the stage, finished and total frames. Stages: mel, landmarks, 3DMM, audio2exp, face
            render; with an enhancer, enhance counts the frames that are rendered and enhanced.
        intermediate_dir: folder for the results of the stages before the renderer.
        Raises: InputError naming the file that cannot be used; Cancelled. No outfile remains then.
        """
        check_outfile(outfile, face, *([] if audio is None else [audio]))
        report = progress or _ignore
        is_enhanced = options.enhancer is not None or options.background_enhancer is not None
        with self._open(face, audio, options, is_cancelled, report, outfile, intermediate_dir) as stream:
            report("face render", 0, stream.length)
            for _ in stream:
                report("enhance" if is_enhanced else "face render", stream.num_read, stream.length)
        return Result(Path(outfile), stream.num_read, stream.fps, [])

    def stream(
        self, face: FaceInput, audio: AudioInput | None, options: SadTalkerOptions = DEFAULTS,
        is_cancelled: IsCancelled = never,
    ) -> FrameStream:  # fmt: skip
        """Return the frames of a result without writing a file; close it unless all frames are read.

        face: photo, or video whose first frame with a face is used; a file of `prepare`; an array (H, W, 3) uint8 RGB;
            or any Source.
        audio: file with audio, may be a video; or samples (n,) or (n, channels) and their rate in Hz. None with
            options.idle, and with all motion of options.ref_video for its audio.
        is_cancelled: called for each frame; if True, Cancelled is raised.
        Raises: InputError naming the input that cannot be used.
        """
        return self._open(face, audio, options, is_cancelled)

    def prepare(
        self, face: FaceInput, options: SadTalkerOptions = DEFAULTS, note: str = "",
        progress: OnProgress = _ignore, is_cancelled: IsCancelled = never,
    ) -> Identity:  # fmt: skip
        """Compute everything that depends on the photo only.

        face, options: see `stream`. note: license and consent, stored with it.
        Raises: InputError if the photo has no face that can be animated.
        """
        networks = self._load_networks(options.size)
        if isinstance(face, str | PathLike) and is_prepared(face):
            return _load_identity(face, networks, options)
        progress("landmarks", 0, 1)
        portrait = self._find_face(face, options, is_cancelled)
        progress("landmarks", 1, 1)
        cut = cut_face(portrait, options.preprocess, options.size, options.compat)
        renderer = networks.renderer(options.precision)
        progress("3DMM", 0, 1)
        identity = build_identity(
            cut, options.preprocess, networks.head, renderer.source_features, networks.checkpoint, note
        )  # fmt: skip
        progress("3DMM", 1, 1)
        return identity

    def _find_face(self, face: FaceInput, options: SadTalkerOptions, is_cancelled: IsCancelled) -> Portrait:
        source = open_source(face, options, options.compat)
        if options.points is None:
            finder = PortraitFinder(self._detector(options), self._landmarker(options.compat))
            portrait = finder(source, options, is_cancelled)
        elif getattr(source, "is_downscaled", False):
            raise InputError(f"--points={options.points}: {source.path} is downscaled; add --resize_factor or --crop")
        else:
            with contextlib.closing(source.frames(0, 1)) as frames:
                portrait = Portrait(next(frames), read_points(options.points))
        check_face(portrait, source.path)
        return portrait

    def _detector(self, options: SadTalkerOptions) -> Detector:
        return self._detectors.get(min(options.face_det_batch_size, MAX_DETECTION_BATCH), options.compat)

    def _open(
        self, face: FaceInput, audio: AudioInput | None, options: SadTalkerOptions, is_cancelled: IsCancelled,
        progress: OnProgress = _ignore, outfile: PathType | None = None, intermediate_dir: Path | None = None,
    ) -> FrameStream:  # fmt: skip
        _check_files(options)
        fps = Fraction(options.fps).limit_denominator(1001)
        with contextlib.ExitStack() as resources:
            audio_file = resources.enter_context(audio_as_file(_driving_audio(audio, options), options.audio_track))
            video = None if outfile is None else self._video(outfile, fps, audio_file, options, is_cancelled)
            enhance, mouth = load_enhancer(options, self._restorers), self._mouth(options)
            draw_mouth = _unchanged if mouth is None else partial(mouth, audio=audio_file, fps=fps)
            progress("mel", 0, 1)
            speech = _load_speech(audio_file, options)
            progress("mel", 1, 1)
            identity = self.prepare(face, options, "", progress, is_cancelled)
            if mouth is not None:
                identity = frame_mouth(identity, mouth.find_box)
            motion = self._motion(identity, speech, options, fps, progress, is_cancelled)
            if intermediate_dir is not None:
                save_intermediate_files(intermediate_dir, identity, motion)
            items = self._run(identity, motion, options, [draw_mouth, enhance], video)
            length = len(motion.positions)
            return FrameStream(items, length, length, fps, audio_file, resources.pop_all(), is_cancelled)

    def _video(
        self, outfile: PathType, fps: Fraction, audio: PathType, options: SadTalkerOptions, is_cancelled: IsCancelled
    ) -> VideoWriter:  # fmt: skip
        """Build the writer, which checks the name and the encoding, before any work is done."""
        checkpoint = self._load_networks(options.size).checkpoint
        comment = provenance_comment(checkpoint, "The head and face") if options.metadata else None
        trim_audio = options.compat == "public"
        on_packet = partial(check_cancelled, is_cancelled)
        return VideoWriter(
            outfile, fps, audio, options.encoding, trim_audio=trim_audio, comment=comment, on_packet=on_packet
        )  # fmt: skip

    def _mouth(self, options: SadTalkerOptions) -> MouthStage | None:
        """Load the generator of the mouth."""
        if options.mouth is None:
            return None
        if self._load_mouth is None:
            raise InputError(f"--mouth={options.mouth}: this engine was built without Wav2Lip; set load_mouth")
        return self._load_mouth(options.mouth)

    def _motion(
        self, identity: Identity, speech: SpeechMel, options: SadTalkerOptions, fps: Fraction, progress: OnProgress,
        is_cancelled: IsCancelled,
    ) -> ClipMotion:  # fmt: skip
        loop = options.idle is not None
        settings = MotionSettings(options, options.compat, loop, identity.mode in PASTED_MODES)
        head = self._load_networks(options.size).head
        reference = self._reference_motion(identity.mode, options, is_cancelled)
        progress("audio2exp", 0, speech.frames)
        coefficients = predict_coefficients(head, identity.coefficients, speech, settings, reference)
        progress("audio2exp", speech.frames, speech.frames)
        count = max(1, math.ceil(speech.seconds * fps - 1e-6))
        step = len(coefficients) / count if loop else FPS / fps
        angles = {
            axis: head_angles(degrees, count, options.compat)
            for axis in ("yaw", "pitch", "roll")
            if (degrees := getattr(options, f"input_{axis}")) is not None
        }
        return ClipMotion(coefficients, np.arange(count) * float(step), angles, loop)

    def _reference_motion(self, mode: str, options: SadTalkerOptions, is_cancelled: IsCancelled) -> ReferenceMotion:
        """Compute the coefficients of the reference videos, cropped in the mode of the photo."""
        head = self._load_networks(options.size).head

        @lru_cache
        def coefficients(path: Path | None) -> np.ndarray | None:
            return None if path is None else reference_coefficients(
                path, mode, options.size, self._detector(options), self._landmarker(options.compat),
                partial(photo_coefficients, head), user_cache() if options.cache else None, is_cancelled,
                options.max_pixels,
            )  # fmt: skip

        return ReferenceMotion(*map(coefficients, (options.eye_video, options.pose_video, options.full_video)))

    def _run(
        self, identity: Identity, motion: ClipMotion, options: SadTalkerOptions, stages: list[Stage],
        video: VideoWriter | None,
    ) -> FrameGenerator:  # fmt: skip
        networks = self._load_networks(options.size)
        draw_mouth, enhance = stages
        renderer = networks.renderer(options.precision)
        compose = build_composition(identity.mode, identity.photo, identity.region, options.size, options.compat)
        rendered = render_frames(identity, motion, networks.head, renderer, options.batch_size)
        with_mouth = draw_mouth(rendered)
        composed = _compose(with_mouth, compose)
        enhanced = enhance(composed)
        finished = prefetch(
            close_together(rendered, with_mouth, composed, enhanced), NUM_FINISHED_AHEAD, lambda item: item.frame.nbytes
        )
        return finished if video is None else _encode(finished, video)


def _unchanged(items: FrameGenerator) -> FrameGenerator:
    yield from items


def _compose(items: FrameGenerator, compose: Callable[[FrameItem], None]) -> FrameGenerator:
    for item in items:
        compose(item)
        yield item


def _encode(items: FrameGenerator, video: VideoWriter) -> FrameGenerator:
    with contextlib.closing(items), video:
        for item in items:
            video.write(item.frame)
            yield item


def _check_files(options: SadTalkerOptions) -> None:
    """Raise InputError for a missing file before any work is done."""
    for name in ("ref_eyeblink", "ref_pose", "ref_video", "points", "mouth", "face_like"):
        value = getattr(options, name)
        for path in value if isinstance(value, tuple) else (value,):
            check_named_files({f"--{name}": path})


def _driving_audio(audio: AudioInput | None, options: SadTalkerOptions) -> AudioInput:
    """Return the audio of the result: silence without speech."""
    check_driving_audio(audio is not None, options)
    if options.idle is not None:
        return np.zeros(max(1, round(options.idle * SAMPLE_RATE)), np.int16), SAMPLE_RATE
    if audio is not None:
        return audio
    assert options.full_video is not None
    return options.full_video


def _load_speech(audio: PathType, options: SadTalkerOptions) -> SpeechMel:
    if options.idle is None:
        return load_speech(audio, options.compat)
    return silent_speech(options.idle, options.compat)


def _load_identity(path: PathType, networks: EngineNetworks, options: SadTalkerOptions) -> Identity:
    """Read a file of `prepare`. Raises: InputError if the options contradict it."""
    identity = Identity.load(path)
    if len(identity.image) != options.size:
        raise InputError(f"{path}: was prepared with --size {len(identity.image)}; add it, or prepare it again")
    if identity.checkpoint != networks.checkpoint:
        raise InputError(f"{path}: was prepared with other checkpoint files; prepare it again with these")
    if options.preprocess not in (DEFAULTS.preprocess, identity.mode):
        raise InputError(f"{path}: was prepared with --preprocess {identity.mode}; remove --preprocess")
    if flags := [word for word in format_flags(options) if word in IDENTITY_FLAGS]:
        raise InputError(f"{path}: is a prepared face, whose photo and face are fixed; remove {', '.join(flags)}")
    return identity
