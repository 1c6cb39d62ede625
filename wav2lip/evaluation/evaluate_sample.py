"""Measure one video: generate it if requested, find its faces, run every scorer. Few frames are in memory at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import astuple, replace
from itertools import chain, islice, repeat
from pathlib import Path

import numpy as np
import torch

from wav2lip.audio.mel import SAMPLE_RATE
from wav2lip.audio.voice_activity import detect_silences
from wav2lip.audio.windows import FPS
from wav2lip.errors import InputError
from wav2lip.evaluation.faces import Thumbnails, crop_faces, crop_heads, find_boxes, pixel_box
from wav2lip.evaluation.metrics import Metric, Scores, frechet, not_computed
from wav2lip.evaluation.metrics.base import FrameMetric, FrameSample
from wav2lip.evaluation.metrics.fidelity import Fidelity
from wav2lip.evaluation.metrics.identity import Identity
from wav2lip.evaluation.metrics.landmarks import LandmarkDistance
from wav2lip.evaluation.metrics.perceptual import PerceptualDistance
from wav2lip.evaluation.metrics.sharpness import Sharpness
from wav2lip.evaluation.metrics.sync import (
    EXPERT_METRICS,
    LSE_METRICS,
    NO_EXPERT,
    NO_SECOND_EXPERT,
    NO_SYNCNET_V2,
    SECOND_METRICS,
    score_curve,
)
from wav2lip.evaluation.metrics.temporal import TemporalStability
from wav2lip.evaluation.samples import EvalSample, GenerationRequest, SampleScores
from wav2lip.evaluation.scorers import Scorers, load_detector, load_generator
from wav2lip.faces.boxes import Box
from wav2lip.faces.crops import crop_box
from wav2lip.lipsync import LipSyncOptions
from wav2lip.media import first_frame_time, probe, read_audio, read_frames
from wav2lip.sync.expert import StreamingExpert
from wav2lip.sync.offset_curve import OffsetCurve, offset_curve

OPTIONS = LipSyncOptions(
    blend="box", silence="off", precision="fp32"
)  # only the generator, as in the paper's evaluation
LENGTH_TOLERANCE_FRAMES = 2  # by which a result may be longer than its source video


def evaluate_sample(sample: EvalSample, scorers: Scorers, boxes_folder: Path) -> SampleScores:
    """Compute all metrics of a sample.

    boxes_folder: cache of face boxes.
    Raises: InputError if a file cannot be used, or no frame has a face.
    """
    if sample.request is not None:
        generate(sample.request, sample, scorers)
    boxes = None if sample.is_face_crop else face_boxes(sample, scorers, boxes_folder)
    wav = read_wav(sample.video)
    scores = measure_frames(sample, scorers, boxes, wav)
    heads: Iterable[np.ndarray | None] = _read(sample.video)
    if boxes is not None and scorers.settings.lse_frames == "track":
        heads = crop_heads(_read(sample.video), boxes)
    missing = "no six consecutive frames have a face and audio; remove the video"
    _add_sync(scores, "lse", scorers.syncnet_v2, heads, wav, LSE_METRICS, NO_SYNCNET_V2, missing)
    missing = "no 1.5 s of audio have a face; remove the video"
    for name, expert, metrics, no_expert in (
        ("expert", scorers.expert, EXPERT_METRICS, NO_EXPERT),
        ("second", scorers.second_expert, SECOND_METRICS, NO_SECOND_EXPERT),
    ):
        faces = crop_faces(_read(sample.video), boxes)
        _add_sync(scores, name, expert, faces, wav, metrics, no_expert, missing)
    return scores


def generate(request: GenerationRequest, sample: EvalSample, scorers: Scorers) -> None:
    """Generate the video of a sample.

    Raises: InputError if that fails, or the request rejects its audio as too long.
    """
    face, audio = probe(request.face), probe(request.audio)
    if request.reject_longer_audio and face.seconds < audio.seconds:
        raise InputError(
            f"{request.face}: is shorter ({face.seconds:.2f} s) than its audio {request.audio} "
            f"({audio.seconds:.2f} s); the paper skips such pairs"
        )
    face.require_video()
    box = None
    if sample.is_face_crop:
        for frame in islice(_read(request.face), 1):  # the size in the header is that before rotation
            box = (0, frame.shape[0], 0, frame.shape[1])
    lipsync = load_generator(request.checkpoint, scorers.settings)
    pads = astuple(request.pads) if lipsync.framing is None else None
    options = replace(OPTIONS, box=box, pads=pads)
    lipsync(face=request.face, audio=request.audio, outfile=sample.video, options=options)


def face_boxes(sample: EvalSample, scorers: Scorers, folder: Path) -> np.ndarray:
    """Return the boxes (N, 4) of the face.

    They come from the reference if it is long enough, so that all systems have equal crops, else from the video itself.
    Raises: InputError if there is no face.
    """
    settings = scorers.settings
    min_frames = int(probe(sample.video).seconds * FPS) - LENGTH_TOLERANCE_FRAMES
    for video in filter(None, (sample.reference, sample.video)):
        boxes = find_boxes(video, folder, lambda: load_detector(settings), settings.detector)
        if np.isnan(boxes).all():
            raise InputError(f"{video}: no face in any of its {len(boxes)} frames; remove the video")
        if len(boxes) >= min_frames:
            break
    return boxes


def read_wav(video: Path) -> np.ndarray:
    """Return the audio, (N,) float32 mono at 16 kHz, from the first frame on."""
    blocks = list(read_audio(video, SAMPLE_RATE, start=first_frame_time(video)))
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def measure_frames(sample: EvalSample, scorers: Scorers, boxes: np.ndarray | None, wav: np.ndarray) -> SampleScores:
    """Compute all image metrics in one pass over the frames of the sample and its reference."""
    features = frechet.FaceFeatures(scorers.fid) if scorers.fid else None
    metrics: list[FrameMetric] = [
        Fidelity(),
        PerceptualDistance(scorers.lpips),
        LandmarkDistance(scorers.landmarks, scorers.device),
        Sharpness(),
        TemporalStability(detect_silences(wav)),
        Identity(scorers.identity, scorers.device),
    ]
    scores, thumbnails = SampleScores(Scores()), Thumbnails(int(probe(sample.video).seconds * FPS))
    for frame in frame_samples(sample, boxes):
        scores.frames += 1
        if frame is None:
            continue
        scores.frames_with_face += 1
        thumbnails.add(frame.number, frame.faces[0].numpy())
        for metric in metrics:
            metric.update(frame)
        if features:
            features.update(frame)
    if not scores.frames_with_face:
        raise InputError(f"{sample.video}: no frame has a face of 32 pixels or more; remove the video")
    for metric in metrics:
        scores.scores |= metric.compute()
    scores.thumbnails, scores.features = thumbnails.image(), features.compute() if features else None
    return scores


def frame_samples(sample: EvalSample, boxes: np.ndarray | None) -> Iterator[FrameSample | None]:
    """Yield every frame, cropped to its face, beside its ground truth and source; None without a face.

    Raises: InputError if their sizes differ.
    """
    previous: tuple[np.ndarray, ...] = ()
    size: tuple[int, ...] = ()
    for number, (frame, reference) in enumerate(zip(_read(sample.video), _read_reference(sample), strict=False)):
        size = size or _common_size(frame, reference, sample)
        frame = frame[: size[0], : size[1]]
        box: Box | None = (0, 0, size[1], size[0])
        if boxes is not None:
            box = pixel_box(boxes[number], *size) if number < len(boxes) else None
        if box is None:
            yield None
        else:
            source = None if reference is None else _crop(reference, box)
            truth = source if sample.truth == sample.reference else None
            yield FrameSample(number, _crop(frame, box), tuple(_crop(image, box) for image in previous), truth, source)
        previous = (frame, *previous[:1])


def _crop(frame: np.ndarray, box: Box) -> torch.Tensor:
    """Crop a frame (H, W, 3) to (1, h, w, 3)."""
    return torch.from_numpy(crop_box(frame, box))[None]


def _read(video: Path) -> Iterator[np.ndarray]:
    return read_frames(video, FPS, on_problem=lambda _: None)


def _read_reference(sample: EvalSample) -> Iterator[np.ndarray | None]:
    """Yield the frames of the reference, then None without end."""
    frames: Iterator[np.ndarray | None] = iter(()) if sample.reference is None else _read(sample.reference)
    return chain(frames, repeat(None))


def _common_size(frame: np.ndarray, reference: np.ndarray | None, sample: EvalSample) -> tuple[int, int]:
    """Return the height and width of the reference: encoding extends an odd size by one pixel.

    Raises: InputError if the sizes differ by more.
    """
    height, width = frame.shape[:2]
    if reference is None:
        return height, width
    size = reference.shape[:2]
    if not (0 <= height - size[0] <= 1 and 0 <= width - size[1] <= 1):
        raise InputError(
            f"{sample.video}: is {width} x {height} pixels, {sample.reference} is {size[1]} x {size[0]}; use videos of "
            "the same size"
        )
    return size[0], size[1]


def _add_sync(
    scores: SampleScores, name: str, expert: StreamingExpert | None, faces: Iterable[np.ndarray | None],
    wav: np.ndarray, metrics: tuple[Metric, ...], no_expert: str, no_window: str,
) -> None:  # fmt: skip
    """Add the curve and the scores of an expert, or the reason why there are none."""
    curve = None if expert is None else _offset_curve(expert, faces, wav)
    if curve is None:
        scores.scores |= not_computed(metrics, no_expert if expert is None else no_window)
    else:
        scores.scores |= score_curve(curve, metrics)
        scores.curves[name] = curve


def _offset_curve(expert: StreamingExpert, faces: Iterable[np.ndarray | None], wav: np.ndarray) -> OffsetCurve | None:
    try:
        return offset_curve(expert, faces, wav)
    except ValueError:  # no audio, or audio that is not finite
        return None
