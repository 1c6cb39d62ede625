"""The Wav2Lip engine."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Generator, Sequence
from dataclasses import astuple
from pathlib import Path

import torch

from face_detection import Detector, build_detector
from models import Wav2Lip
from wav2lip.audio.windows import MelWindows
from wav2lip.devices import choose_devices, inference_dtype
from wav2lip.engine.face_location import BuildDetector, DetectorPool, build_locator, build_matching_detector
from wav2lip.engine.inputs import FaceInput, check_named_files, check_outfile, open_source
from wav2lip.engine.interface import FaceLocator, FrameItem, IsCancelled, OnProgress, Result, Source, never
from wav2lip.engine.prepared import PreparedFace
from wav2lip.engine.result_stream import FrameStream, check_cancelled, provenance_comment
from wav2lip.engine.timeline import decode, expected_frames, fill_timeline, first_frames
from wav2lip.errors import InputError
from wav2lip.faces.appearance_descriptor import Descriptor, describe_appearance
from wav2lip.faces.framing import resolve_pads
from wav2lip.faces.landmarks import REMEDY, add_landmarks, build_landmarker, has_landmarks
from wav2lip.faces.roll_alignment import align_roll, keep_roll
from wav2lip.hashing import hash_checkpoint
from wav2lip.lipsync.audio_input import DrivingAudio, DrivingInput, open_driving_audio
from wav2lip.lipsync.backends.exported import load_backend
from wav2lip.lipsync.backends.interface import Backend
from wav2lip.lipsync.blending import build_blend
from wav2lip.lipsync.closed_mouth_reference import LazyLandmarkDetector
from wav2lip.lipsync.generator_runtime import GeneratorRuntime
from wav2lip.lipsync.options import DEFAULTS, LipSyncOptions
from wav2lip.lipsync.prepared import PreparedTimeline
from wav2lip.lipsync.silence import SilenceControl, build_silence_control
from wav2lip.lipsync.stages import align_faces, blend_faces, generate_faces
from wav2lip.media import VideoWriter
from wav2lip.prefetch import close_together, prefetch
from wav2lip.restoration.enhancement import RestorerCache, load_enhancer
from wav2lip.types import PathType

logger = logging.getLogger(__name__)

NUM_LOCATED_AHEAD = 32  # frames, on a GPU
NUM_FINISHED_AHEAD = 8  # frames
HASH_DIGITS = 16  # digits of the checkpoint hash in the metadata of a result

FrameGenerator = Generator[FrameItem, None, None]
Encode = Callable[[FrameGenerator], FrameGenerator]  # writes frames and yields them


class LipSync:
    """Generate videos of a face that speaks given audio; thread-safe, for any number of requests."""

    def __init__(
        self,
        generator: Wav2Lip | Backend,
        device: torch.device | Sequence[torch.device],
        build_detector: BuildDetector,
        checkpoint: str | None = None,
        describe: Descriptor = describe_appearance,
        landmark_weights: PathType | None = None,
    ):
        """device: with several, the faces of each batch are split among them.
        build_detector: called with images per batch and options.compat.
        checkpoint: hash of the weights for the metadata of results.
        describe: descriptor of persons for options.face_at and face_like; another one requires another
            options.alike.
        landmark_weights: see `build_landmarker`.
        """
        self.describe = describe
        self.generator = GeneratorRuntime(generator, device)
        self.device = self.generator.devices[0]
        self.checkpoint = checkpoint
        self.framing = self.generator.backend.framing
        self._detectors = DetectorPool(build_detector)
        self._landmark_weights = landmark_weights
        self._detectors_with_landmarks = DetectorPool(self._build_detector_with_landmarks)
        self.landmark_detector = LazyLandmarkDetector(self.device)
        self._restorers = RestorerCache(self.device)

    @classmethod
    def from_checkpoint(
        cls, path: PathType, device: str = "auto", detector: str = "auto", s3fd_weights: PathType | None = None,
        landmark_weights: PathType | None = None,
    ) -> LipSync:  # fmt: skip
        """Load a generator of this project or of upstream, or a file of `wav2lip.export`.

        device: auto, cpu, cuda, cuda:N or mps, or several separated by commas, the first of which detects faces.
        detector: s3fd, mtcnn, haar, or auto: that of the checkpoint's training data.
        s3fd_weights: file of S3FD's weights.
        landmark_weights: file of 2DFAN4, see `build_landmarker`.
        Raises: InputError if the checkpoint cannot be used, a named file is missing or the device is unavailable.
        """
        check_named_files({"--s3fd_weights": s3fd_weights, "--landmark_weights": landmark_weights})
        devices = choose_devices(device)
        weights = None if s3fd_weights is None else Path(s3fd_weights)
        backend = load_backend(path)

        def build(batch_size: int, compat: str) -> Detector:
            def build_named(name: str) -> Detector:
                return build_detector(
                    name, weights=weights, device=devices[0], batch_size=batch_size, compat=compat,
                    dtype=inference_dtype(devices[0]),
                )  # fmt: skip

            own = None if backend.framing is None or compat == "public" else backend.framing.detector
            return build_matching_detector(build_named, detector, own)

        return cls(backend, devices, build, hash_checkpoint(path)[:HASH_DIGITS], landmark_weights=landmark_weights)

    def __call__(
        self, face: FaceInput, audio: DrivingInput, outfile: PathType = "results/result_voice.mp4",
        options: LipSyncOptions = DEFAULTS, progress: OnProgress | None = None, is_cancelled: IsCancelled = never,
    ) -> Result:  # fmt: skip
        """Write a video.

        face, audio, options, is_cancelled: see `stream`. outfile: missing folders are created.
        progress: called with the stage, finished frames and total frames; its exceptions propagate.
        Raises: InputError naming the file that cannot be used; Cancelled. No outfile remains then.
        """
        check_outfile(outfile, face, *(audio if isinstance(audio, list) else [audio]))
        with self._open(face, audio, options, is_cancelled, outfile) as stream:
            for _ in stream:
                if progress is not None:
                    progress("lips", stream.num_read, stream.length)
        return Result(
            Path(outfile), stream.num_read, stream.fps, stream.without_face, stream.has_cached_faces, stream.held_back
        )  # fmt: skip

    def stream(
        self, face: FaceInput, audio: DrivingInput, options: LipSyncOptions = DEFAULTS,
        is_cancelled: IsCancelled = never,
    ) -> FrameStream:  # fmt: skip
        """Return the frames of a result without writing a file; close it unless all frames are read.

        face: video or image file with a face; array (N, H, W, 3) of frames or (H, W, 3) of an image, uint8 RGB, at
            options.fps; or any Source.
        audio: file with audio, may be a video; or samples (n,) or (n, channels) and their rate in Hz, written to a
            temporary file. A list of them: audio of each selected face, in the order of options.faces or
            options.face_like; the result has their mix, and the mouths of other people rest.
        is_cancelled: called for each frame by the threads that read and generate frames; if True, Cancelled is raised.
        Raises: InputError naming the input that cannot be used.
        """
        return self._open(face, audio, options, is_cancelled)

    def _open(
        self, face: FaceInput, audio: DrivingInput, options: LipSyncOptions, is_cancelled: IsCancelled,
        outfile: PathType | None = None,
    ) -> FrameStream:  # fmt: skip
        with contextlib.ExitStack() as resources:
            on_packet = functools.partial(check_cancelled, is_cancelled)
            source = open_source(face, options, options.compat, on_packet)
            driving = resources.enter_context(open_driving_audio(audio, source.fps, options, on_packet))
            self._log_departures(options)

            def encode(items: FrameGenerator) -> FrameGenerator:
                if outfile is None:
                    return items
                return self._encode(items, outfile, driving.track, source, options, on_packet)

            locator: FaceLocator
            if isinstance(source, PreparedFace):
                locator, items = source, encode(self._run_prepared(source, driving, options, is_cancelled))
            else:
                silence = self.silence_control(source, driving.files, driving.length, options, is_cancelled)
                locator = self.face_locator(source, driving.length, options, is_cancelled)
                items = self.run(source, driving.voices, options, is_cancelled, silence, encode, locator)
            length = expected_frames(driving.length, source.stated_frames, options.fit, options.short)
            return FrameStream(
                items, length, driving.length, source.fps, driving.track, resources.pop_all(), is_cancelled, locator
            )  # fmt: skip

    def run(
        self, source: Source, voices: Sequence[MelWindows], options: LipSyncOptions = DEFAULTS,
        is_cancelled: IsCancelled = never, silence: SilenceControl | None = None, encode: Encode = lambda items: items,
        locator: FaceLocator | None = None,
    ) -> FrameGenerator:  # fmt: skip
        """Run the pipeline: yield finished frames, one per mel window subject to options.fit and options.short.

        voices: windows of each voice, of equal length.
        The stages are lazy and a bounded number of frames is in memory, whatever the length.
        """
        length = len(voices[0])
        locator = locator or self.face_locator(source, length, options, is_cancelled)
        decoded = decode(source)
        detected = locator.detect(first_frames(decoded, length, is_cancelled))
        selected = locator.select(detected)
        hold = options.compat != "public"
        timeline = self._overlap(fill_timeline(selected, decoded, source, length, options.fit, options.short, hold))
        animated = self.animate(timeline, voices, options, silence)
        stages = close_together(decoded, detected, selected, timeline, animated)
        return encode(self._finish_ahead(stages))

    def _run_prepared(
        self, face: PreparedFace, driving: DrivingAudio, options: LipSyncOptions, is_cancelled: IsCancelled
    ) -> FrameGenerator:
        """Run the pipeline for a prepared face: decoding, detection and selection are done."""
        face.require_resolution(self.generator.resolution)
        timeline = PreparedTimeline(face, driving.files[0], driving.length, is_cancelled)
        silence = timeline.silence() if options.silence != "off" else None
        return self._finish_ahead(self.animate(timeline(), driving.voices, options, silence))

    def animate(
        self, timeline: FrameGenerator, voices: Sequence[MelWindows], options: LipSyncOptions,
        silence: SilenceControl | None,
    ) -> FrameGenerator:  # fmt: skip
        """Run the stages after the timeline: align, generate, blend, enhance."""
        generator = self.generator.with_precision(options.generator_precision)
        align = align_roll if options.align else keep_roll
        blend = build_blend("box" if options.compat == "public" else options.blend, options.gate)
        batch_size = generator.call_size(options.wav2lip_batch_size)

        aligned = align_faces(timeline, align, generator.resolution, batch_size)
        generated = generate_faces(aligned, voices, generator, silence, int(blend.unused * generator.resolution))
        blended = blend_faces(generated, blend)
        enhanced = load_enhancer(options, self._restorers)(blended)
        return close_together(aligned, generated, blended, enhanced)

    def _finish_ahead(self, stages: FrameGenerator) -> FrameGenerator:
        return prefetch(stages, NUM_FINISHED_AHEAD, lambda item: item.frame.nbytes)

    def _overlap(self, stage: FrameGenerator) -> FrameGenerator:
        """Run a stage in a separate thread on a GPU; on a CPU two networks would slow each other down."""
        if self.device.type == "cpu":
            return stage
        return prefetch(stage, NUM_LOCATED_AHEAD, lambda item: item.frame.nbytes)

    def _encode(
        self, items: FrameGenerator, outfile: PathType, audio: PathType, source: Source, options: LipSyncOptions,
        on_packet: Callable[[], object],
    ) -> FrameGenerator:  # fmt: skip
        comment = provenance_comment(self.checkpoint) if options.metadata else None
        trim_audio = options.fit == "trim"
        with (
            contextlib.closing(items),
            VideoWriter(
                outfile, source.fps, audio, options.encoding, trim_audio=trim_audio, comment=comment,
                on_packet=on_packet,
            ) as video,
        ):  # fmt: skip
            for item in items:
                video.write(item.frame)
                yield item

    def face_locator(
        self, source: Source, length: int, options: LipSyncOptions = DEFAULTS, is_cancelled: IsCancelled = never
    ) -> FaceLocator:  # fmt: skip
        """Build the locator of the faces to animate in the first `length` frames of a source."""
        batch_size = self.generator.limit_batch_size(options.face_det_batch_size)
        # Landmarks cost time: only for what needs them, and upstream's boxes come without.
        needs_landmarks = (options.align or options.enhancer is not None) and options.compat != "public"
        detectors = self._detectors_with_landmarks if needs_landmarks else self._detectors
        if options.align and not has_landmarks(detector := detectors.get(batch_size, options.compat)):
            raise InputError(
                f"--align: requires landmarks, which {detector.name} lacks; add --detector mtcnn, or {REMEDY}"
            )
        return build_locator(
            source, length, options, detectors, batch_size, self.describe, self.framing, options.compat,
            is_cancelled, has_rest=options.num_voices > 1 and options.silence != "off", device=self.device,
        )  # fmt: skip

    def _build_detector_with_landmarks(self, batch_size: int, compat: str) -> Detector:
        detector = self._detectors.get(batch_size, compat)
        if has_landmarks(detector):
            return detector
        return add_landmarks(detector, build_landmarker(self._landmark_weights, self.device))

    def silence_control(
        self, source: Source, audios: Sequence[PathType], length: int, options: LipSyncOptions,
        is_cancelled: IsCancelled = never,
    ) -> SilenceControl | None:  # fmt: skip
        """Build the control of mouths while nobody speaks; None if it has no effect.

        audios: driving audio of each voice, at most `length` frames long.
        """
        return build_silence_control(
            source, audios, length, options, self.landmark_detector, self.generator.resolution,
            resolve_pads(options.pads, self.framing, options.compat), is_cancelled,
        )  # fmt: skip

    def _log_departures(self, options: LipSyncOptions) -> None:
        """Warn of options that frame faces otherwise than the checkpoint's training data."""
        if self.framing is None or options.compat == "public" or options.box is not None:
            return
        own = astuple(self.framing.pads)
        if options.pads not in (None, own):
            logger.warning(
                "--pads %s: the checkpoint was trained with %s, so its lips may be less in sync",
                *(" ".join(map(str, pads)) for pads in (options.pads, own)),
            )  # fmt: skip
        if not options.smooth and (self.framing.smooth_window_frames or 1) > 1:
            logger.warning("--nosmooth: the checkpoint was trained on smoothed boxes; its lips may jitter")
