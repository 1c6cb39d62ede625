"""Scores of the demo: lips generated for an unseen face and an unseen voice, by experts that did not train them.

An expert that was trained against can be pleased by patterns that no viewer sees as lips. So the scores that decide
come from a second SyncNet and from the rendered truth; canonical correlation, another family, is reported beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from models import SyncNet
from wav2lip.checkpoints import load_network
from wav2lip.dataset.clip import Clip
from wav2lip.dataset.filelist import read_filelist
from wav2lip.demo.unseen import UnseenTalk, read_faces, write_clip
from wav2lip.evaluation.metrics.base import FrameSample
from wav2lip.evaluation.metrics.fidelity import Fidelity
from wav2lip.evaluation.metrics.sharpness import Sharpness
from wav2lip.sync.cca_expert import CCAExpert, ClipFeatures
from wav2lip.sync.expert import Expert
from wav2lip.sync.offset import balance, similarity_curves
from wav2lip.sync.offset_curve import OffsetCurve
from wav2lip.sync.syncnet_experts import SyncNetExpert

TRAINING, SECOND, CCA = "training expert", "second expert", "canonical correlation"
MOUTH_PATCH = (24, 12)  # pixels, width and height, from which the opening is estimated
RIDGE = 3.0  # weight of the penalty, for standardized pixels
MIN_ACCURACY = 0.7  # balanced validation accuracy of an expert; chance is 0.5
MIN_CORRELATION = 0.5  # over time, of the mouth's opening; other words have some correlation too
MAX_EXPERT_GAP = 0.15  # difference in similarity by which a second expert may rate lips lower than the training expert


@dataclass(frozen=True)
class VideoScores:
    """Scores of one video of the unseen talk."""

    curves: Mapping[str, OffsetCurve]  # key: expert
    psnr_mouth: float  # dB, against the rendered truth
    ssim_mouth: float
    sharpness: float  # Laplacian variance of the mouth relative to the truth
    opening_correlation: float  # correlation over time of the mouth's opening with the true one


CURVE_ROWS: dict[str, Callable[[OffsetCurve], str]] = {
    "agreement": lambda curve: f"{curve.agreement:.2f}",
    "confidence": lambda curve: f"{curve.confidence:.2f}",
    "best shift": lambda curve: f"{curve.offset:+d}",
}
IMAGE_ROWS: dict[str, Callable[[VideoScores], str]] = {
    "mouth PSNR against the truth, dB": lambda video: f"{video.psnr_mouth:.1f}",
    "mouth SSIM against the truth": lambda video: f"{video.ssim_mouth:.2f}",
    "sharpness of the mouth": lambda video: f"{video.sharpness:.2f}",
    "correlation of the mouth's opening": lambda video: f"{video.opening_correlation:.2f}",
}


@dataclass(frozen=True)
class DemoScores:
    """Scores of the finished videos, and the last validations of the trainers."""

    videos: Mapping[str, VideoScores]  # generated, truth and untouched
    validations: Mapping[str, Mapping[str, float]]  # key: expert, second_expert or generator

    def rows(self) -> list[list[str]]:
        """Return the table of the videos: a header, then a row for each score."""
        head = ["score", *self.videos]
        rows = [
            [f"{label}, {expert}", *(text(video.curves[expert]) for video in self.videos.values())]
            for expert in next(iter(self.videos.values())).curves
            for label, text in CURVE_ROWS.items()
        ]
        rows += [[label, *(text(video) for video in self.videos.values())] for label, text in IMAGE_ROWS.items()]
        return [head, *rows]

    def format(self) -> str:
        """Return the table as text."""
        head, *rows = self.rows()
        return "\n".join(f"{row[0]:40}" + "".join(f"{cell:>12}" for cell in row[1:]) for row in (head, *rows))

    def failures(self) -> list[str]:
        """Return a sentence for every score that shows no learning."""
        failures = [
            f"the validation accuracy of {name} is {self.validations[name]['accuracy']:.2f}, near chance (0.5)"
            for name in ("expert", "second_expert")
            if not self.validations[name]["accuracy"] >= MIN_ACCURACY
        ]
        curves = {name: video.curves[SECOND] for name, video in self.videos.items()}
        generated, untouched = curves["generated"], curves["untouched"]
        unrelated = 1 - untouched.min_distance  # lips that say other words, at the best of all shifts: chance
        if not generated.agreement > unrelated:
            failures.append(
                f"the second expert rates the result {generated.agreement:.2f}, not above the {unrelated:.2f} of the "
                "original lips at their best shift"
            )
        if abs(generated.offset) > 1:
            failures.append(f"the result is in sync at a shift of {generated.offset} frames, more than one from 0")
        correlation = self.videos["generated"].opening_correlation
        if not correlation > MIN_CORRELATION:
            failures.append(f"the mouth opens with a correlation of {correlation:.2f} with the rendered truth")
        return failures + self._one_expert()

    def _one_expert(self) -> list[str]:
        """Return the diagnosis of lips that only the training expert rates like true ones."""
        deficits = {
            name: self.videos["truth"].curves[name].agreement - self.videos["generated"].curves[name].agreement
            for name in (TRAINING, SECOND)
        }
        if deficits[SECOND] - max(deficits[TRAINING], 0) < MAX_EXPERT_GAP:
            return []
        return [
            f"the generator pleases its expert, not a second one: their ratings are {deficits[TRAINING]:.2f} and "
            f"{deficits[SECOND]:.2f} below those of the truth"
        ]


def load_experts(training: Path, second: Path, data: Path) -> dict[str, Expert]:
    """Load the experts by name; canonical correlation is fitted to the training clips."""
    names = read_filelist(data / "filelists" / "train.txt", data)
    clips = [ClipFeatures.from_clip(Clip.open(data / name)) for name in names]
    networks = {TRAINING: training, SECOND: second}
    experts: dict[str, Expert] = {name: SyncNetExpert(load_network(path, SyncNet)) for name, path in networks.items()}
    return experts | {CCA: CCAExpert.fit(clips, [0] * len(clips))}


def score_video(video: Path, talk: UnseenTalk, experts: Mapping[str, Expert], work: Path) -> VideoScores:
    """Score a video of the unseen talk. work: folder for its crops."""
    clip = Clip.open(write_clip(work, f"scored/{video.stem}", video, talk))
    fidelity, sharpness = Fidelity(mouth_only=True), Sharpness()
    faces, truth = dict(read_faces(video, talk.boxes)), dict(read_faces(talk.truth, talk.boxes))
    for number in sorted(faces.keys() & truth.keys()):
        image, reference = torch.from_numpy(faces[number])[None], torch.from_numpy(truth[number])[None]
        sample = FrameSample(number, image, truth=reference, source=reference)
        fidelity.update(sample)
        sharpness.update(sample)
    values = {**fidelity.compute().values, **sharpness.compute().values}
    return VideoScores(
        {name: measure_curve(expert, clip) for name, expert in experts.items()},
        values["psnr_mouth"], values["ssim_mouth"], values["sharpness"], correlate_opening(faces, talk),
    )  # fmt: skip


def measure_curve(expert: Expert, clip: Clip) -> OffsetCurve:
    """Return 1 - similarity of a clip's lips and audio at every shift."""
    embedding = expert.embed(clip)
    lips, audio = embedding.lips, embedding.audio
    if isinstance(expert, CCAExpert):  # its embeddings have no norm of 1
        lips, audio = balance(lips), balance(audio)
    (curve,) = similarity_curves(embedding.starts, lips, audio)
    return OffsetCurve(1 - np.nan_to_num(curve))


def correlate_opening(faces: Mapping[int, np.ndarray], talk: UnseenTalk) -> float:
    """Return the correlation over time of the opening in faces, by frame number, with the true one.

    The opening is estimated from the mouth by ridge regression, fitted to the same head with its own words, so no
    network takes part.
    """
    known = dict(read_faces(talk.face, talk.boxes))
    predict = fit_ridge(_mouth_pixels(known.values()), talk.opening_of_face[list(known)])
    return float(np.corrcoef(predict(_mouth_pixels(faces.values())), talk.opening[list(faces)])[0, 1])


def fit_ridge(rows: np.ndarray, target: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Fit standardized rows (N, D) to a target (N,); return the function that predicts it for other rows."""
    mean, scale = rows.mean(axis=0), rows.std(axis=0) + 1e-3
    standardized = (rows - mean) / scale
    ridge = RIDGE * len(rows) * np.eye(rows.shape[1]) / 100
    weights = np.linalg.solve(standardized.T @ standardized + ridge, standardized.T @ (target - target.mean()))

    def predict(others: np.ndarray) -> np.ndarray:
        return np.asarray((others - mean) / scale @ weights + target.mean())

    return predict


def _mouth_pixels(faces: Iterable[np.ndarray]) -> np.ndarray:
    """Return the brightness of the lower halves of faces at MOUTH_PATCH, (N, D) float64 in [0, 1]."""
    lower = (cv2.cvtColor(face[len(face) // 2 :], cv2.COLOR_RGB2GRAY) for face in faces)
    patches = [cv2.resize(image, MOUTH_PATCH, interpolation=cv2.INTER_AREA) for image in lower]
    return np.stack(patches).reshape(len(patches), -1) / 255
