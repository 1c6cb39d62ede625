"""Training and inference frame faces in the same way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from face_detection import Detector, build_detector
from models import Wav2Lip
from preprocess.ingest import find_videos
from preprocess.pipeline import run
from tests.helpers.preprocess import make_job
from tests.helpers.trainers import run_trainer
from train.data.index import WindowIndex
from train.data.samples import GeneratorSamples, SampleIndices
from train.data.sources import open_source
from wav2lip.checkpoints import load_checkpoint, load_network
from wav2lip.dataset.clip import read_info
from wav2lip.faces.boxes import Box, Pads, round_boxes
from wav2lip.faces.crops import crop_box, resize
from wav2lip.faces.framing import FaceFraming, read_framing
from wav2lip.faces.tensors import from_network
from wav2lip.lipsync import LipSync, LipSyncOptions
from wav2lip.synthetic import write_videos

PADS = Pads(bottom=4)
FRAMES = 25  # compared: five windows of five frames, from frame 5 on
PLAIN = LipSyncOptions(blend="box", silence="off", precision="fp32", cache=False)


class Haar:
    """Haar's cascade and its own resource factory."""

    name = "haar"

    def build(self, worker: int) -> Detector:
        return build_detector("haar")


@dataclass(frozen=True)
class Person:
    """A video, the one clip of its data set, and a generator trained on it."""

    video: Path
    clip: Path
    checkpoint: Path


@pytest.fixture(scope="module")
def person(tmp_path_factory, expert) -> Person:
    root = tmp_path_factory.mktemp("person")
    (video,) = write_videos(root / "videos", 1, 1.6)
    job = make_job(root / "data", Haar(), min_clip_seconds=1.0)
    faces = replace(job.settings.faces, detector="haar", smooth_window_frames=13)
    run(find_videos(root / "videos"), replace(job, settings=replace(job.settings, faces=faces, pads=PADS)))
    (info,) = job.root.glob("*/*/clip.json")
    (job.root / "filelists").mkdir()
    for split in ("train", "val"):
        (job.root / "filelists" / f"{split}.txt").write_text(f"{info.parent.relative_to(job.root).as_posix()}\n")
    folder = run_trainer(
        "wav2lip",
        job.root,
        root / "run",
        expert,
        "max_steps=40",
        "learning_rate=2e-3",
        "eval_interval=40",
        "eval_windows=1",
    )
    return Person(video, info.parent, folder / "last.pth")


def test_checkpoint_states_the_framing_of_its_clips(person):
    framing = FaceFraming(PADS, "haar", smooth_window_frames=13, stride_frames=2, scan_frames=25, scan_side=480)
    assert FaceFraming.from_json(read_info(person.clip)["framing"]) == framing
    assert read_framing(load_checkpoint(person.checkpoint).extras) == framing
    assert LipSync.from_checkpoint(person.checkpoint, "cpu").framing == framing


def trainer_faces(person: Person) -> np.ndarray:
    """Return the trainer's frames with each frame as its own reference, as at inference: (25, 96, 96, 3) uint8."""
    root = person.clip.parents[1]
    source, _ = open_source(root, root / "filelists" / "val.txt", WindowIndex.for_generator, "clips")
    first = torch.arange(5, 5 + FRAMES, 5)
    batch = GeneratorSamples().read(source, SampleIndices(torch.zeros_like(first), first, first)).inputs()
    with torch.no_grad():
        generated = load_network(person.checkpoint, Wav2Lip).eval()(batch.frame_mels, batch.faces)
    return from_network(generated.transpose(1, 2)).flatten(0, 1).numpy()


def inferred_mouths(person: Person, boxes: list[Box], options: LipSyncOptions) -> np.ndarray:
    """Return the mouths in the frames of a result, (25, 48, 96, 3) uint8."""
    lipsync = LipSync.from_checkpoint(person.checkpoint, "cpu")
    with lipsync.stream(person.video, person.video, options) as stream:
        frames = list(stream)[5 : 5 + FRAMES]
    return np.stack([resize(crop_box(f, box), 96, 96)[48:] for f, box in zip(frames, boxes, strict=True)])


def test_inference_on_a_training_clip_gives_the_trainers_frames(person, caplog):
    info = read_info(person.clip)
    boxes = np.array(info["boxes"][5 : 5 + FRAMES])
    boxes[:, 3] += PADS.bottom
    boxes = round_boxes(boxes, info["height"], info["width"])
    # Pasting resizes a face to its box and the comparison back, which blurs the trainer's faces equally.
    sizes = [(right - left, bottom - top) for left, top, right, bottom in boxes]
    faces = [resize(resize(face, *size), 96, 96) for face, size in zip(trainer_faces(person), sizes, strict=True)]
    expected = np.stack(faces)[:, 48:].astype(int)
    assert expected.std() > 20  # not a uniform image

    def difference(options: LipSyncOptions) -> float:
        return np.abs(inferred_mouths(person, boxes, options) - expected).mean()

    assert difference(PLAIN) < 2
    assert not caplog.records
    assert difference(replace(PLAIN, pads=(0, 14, 0, 0))) > 2  # upstream's ten pixels more
    assert "--pads 0 14 0 0: the checkpoint was trained with 0 4 0 0" in caplog.text
