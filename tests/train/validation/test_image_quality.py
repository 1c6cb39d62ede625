"""Validations score frames as wav2lip.evaluate scores videos; any of these metrics can select best.pth."""

import av
import cv2
import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import nn
from torchvision.models import alexnet

from models import SyncNet
from tests.helpers.sync import clip_faces
from tests.helpers.trainers import run_trainer
from tests.helpers.training import loss_weights
from train.callbacks.early_stopping import EarlyStopping
from train.data.index import WindowIndex
from train.data.samples import SyncNetSamples, open_dataset
from train.data.validation_set import build_offset_set
from train.steps.generator import GeneratorStep
from train.steps.syncnet import SyncNetStep
from train.validation.image_quality import DEFAULT_METRICS, REQUIRED_KEYS, ImageQualityMeter, QualityNetworks
from train.validation.offset_curve import curve_scores, measure_curve
from wav2lip.audio import load_wav
from wav2lip.checkpoints import load_checkpoint
from wav2lip.dataset.clip import Clip, ClipWriter
from wav2lip.errors import InputError
from wav2lip.evaluation.evaluate_sample import measure_frames
from wav2lip.evaluation.metrics.frechet import FeatureStatistics, frechet_distance
from wav2lip.evaluation.metrics.perceptual import CHANNELS
from wav2lip.evaluation.metrics.sync import EXPERT_METRICS, score_curve
from wav2lip.evaluation.samples import EvalSample
from wav2lip.evaluation.scorers import Scorers
from wav2lip.evaluation.settings import EvalSettings
from wav2lip.faces.tensors import to_network
from wav2lip.sync.offset_curve import SHIFTS, offset_curve
from wav2lip.sync.syncnet_experts import SyncNetExpert
from wav2lip.synthetic import Speaker, render, speak


class RegionMeans(nn.Module):
    """A feature network for FID: means of regions."""

    def forward(self, faces):
        return faces.float().unflatten(2, (13, 23)).mean(dim=(3, 4))[:, :, :5].flatten(1)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Untrained weights for LPIPS and FID, by config key."""
    folder = tmp_path_factory.mktemp("quality_networks")
    torch.manual_seed(0)
    torch.save({f"features.{k}": v for k, v in alexnet(weights=None).features.state_dict().items()}, folder / "a.pth")
    torch.save({f"lin{n}.model.1.weight": torch.rand(1, c, 1, 1) for n, c in enumerate(CHANNELS)}, folder / "l.pth")
    torch.jit.save(torch.jit.trace(RegionMeans(), torch.zeros(2, 3, 299, 299, dtype=torch.uint8)), folder / "f.pt")
    return {"lpips_backbone": folder / "a.pth", "lpips_weights": folder / "l.pth", "fid_network": folder / "f.pt"}


def write_lossless(path, frames):
    """A video of exactly these frames (T, H, W, 3)."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "bgr0"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24").reformat(format="bgr0")))
        container.mux(stream.encode())
    return path


def degrade(frames, seed):
    """The frames blurred and noisy."""
    noise = np.random.default_rng(seed).normal(0, 6, frames.shape)
    blurred = np.stack([cv2.GaussianBlur(frame, (0, 0), 1) for frame in frames])
    return np.clip(blurred + noise, 0, 255).astype(np.uint8)


def to_window(frames):
    """(T, H, W, 3) uint8 as one window (1, 3, T, H, W)."""
    return to_network(torch.from_numpy(frames)).transpose(0, 1)[None]


def test_meter_gives_the_scores_of_the_evaluation(portrait, files, tmp_path):
    truth = np.stack([portrait[60 + n : 156 + n, 60:156] for n in range(5)])
    frames = degrade(truth, 0)
    video, true_video = write_lossless(tmp_path / "video.mkv", frames), write_lossless(tmp_path / "truth.mkv", truth)
    scorers = Scorers.from_settings(EvalSettings(**files, device="cpu", detector="haar"))
    silence = np.zeros(3200, np.float32)
    measured = measure_frames(EvalSample("a", video, truth=true_video, is_face_crop=True), scorers, None, silence)
    real = measure_frames(EvalSample("a", true_video, is_face_crop=True), scorers, None, silence)
    expected = {name: measured.scores.values[name] for name in (*DEFAULT_METRICS, "lpips")}
    expected["flicker_of_truth"] = real.scores.values["flicker"]
    statistics = (FeatureStatistics.from_batches([scores.features]) for scores in (measured, real))
    expected["fid"] = frechet_distance(*statistics)
    assert 20 < expected["psnr_mouth"] < 40
    assert expected["sharpness"] != pytest.approx(1, abs=0.1)

    meter = ImageQualityMeter(QualityNetworks.from_files(torch.device("cpu"), **files, fid_weights=None))
    meter.update(to_window(frames), to_window(truth))
    assert meter.compute(Fabric(accelerator="cpu", devices=1)) == pytest.approx(expected, rel=1e-5)


def test_validation_curve_equals_the_evaluation(tmp_path):
    speaker = Speaker.from_seed(0)
    speech = speak(3, speaker, 0)
    with ClipWriter(tmp_path, "speaker/0") as writer:
        for number, frame in enumerate(render(speech, speaker, 0)):
            writer.write_frame(number, np.ascontiguousarray(frame[60:210, 50:200]))
        writer.write_audio([speech.wav])
    (tmp_path / "val.txt").write_text("speaker/0\n")
    torch.manual_seed(0)
    expert = SyncNet(width=0.125).eval()
    fabric = Fabric(accelerator="cpu", devices=1)

    samples = SyncNetSamples(5)
    windows = open_dataset(tmp_path, tmp_path / "val.txt", lambda runs: WindowIndex.for_syncnet(runs, 5), samples)
    offset_set = build_offset_set(windows, 1000, SHIFTS)
    batch = offset_set.__getitems__(range(len(offset_set))).inputs()
    scores = curve_scores(measure_curve(fabric, expert, [SyncNetStep(fabric, expert).expert_inputs(batch)]))

    clip = Clip.open(tmp_path / "speaker/0")
    curve = offset_curve(SyncNetExpert(expert), clip_faces(clip, 96), load_wav(clip.path / "audio.wav"))
    expected = score_curve(curve, EXPERT_METRICS).values
    assert scores == pytest.approx({name: expected[name] for name in scores}, rel=1e-4)
    assert set(scores) == {"expert_distance", "expert_confidence", "expert_offset"}


# For each metric the values of three validations, and the best of these.
VALIDATIONS = {
    "psnr_mouth": ([20, 22, 21], 2),
    "ssim_mouth": ([0.5, 0.4, 0.45], 1),
    "sharpness": ([0.2, 1.1, 1.4], 2),
    "flicker": ([5, 4, 3], 3),
    "lpips": ([0.5, 0.3, 0.4], 2),
    "fid": ([90, 70, 80], 2),
    "expert_distance": ([0.5, 0.3, 0.4], 2),
    "expert_confidence": ([0.1, 0.3, 0.2], 2),
    "expert_offset": ([-3, 2, 1], 3),
}


def test_every_metric_can_be_monitored(files):
    quality_networks = QualityNetworks.from_files(torch.device("cpu"), **files, fid_weights=None)
    step = GeneratorStep(
        Fabric(accelerator="cpu", devices=1),
        nn.Identity(),
        SyncNet(width=0.125),
        loss_weights(0.0),
        quality_networks=quality_networks,
    )
    for name, (values, best) in VALIDATIONS.items():
        stopping = EarlyStopping(name, step.monitorable)
        for number, value in enumerate(values, start=1):
            stopping.update({name: value}, number)
        assert (name, stopping.best.step) == (name, best)


@pytest.mark.parametrize("name", ["sharpness", "fid"])
def test_monitored_metric_selects_best_pth(name, noise_data, expert, files, tmp_path, monkeypatch):
    values, best = VALIDATIONS[name]
    remaining = iter(values)
    monkeypatch.setattr(GeneratorStep, "validate", lambda *_: {"sync": 1.0, name: next(remaining)})
    weights = [f"fid_network={files['fid_network']}"] if name == "fid" else []
    folder = run_trainer("wav2lip", noise_data, tmp_path, expert, f"monitor_metric={name}", "max_steps=3",
                         "eval_interval=1", "batch_size=1", "eval_windows=1", "diagnose_after=0", *weights)  # fmt: skip
    assert load_checkpoint(folder / "best.pth").global_step == best


@pytest.mark.parametrize("name", REQUIRED_KEYS)
def test_metric_without_weights_is_rejected_with_the_remedy(name, noise_data, expert, tmp_path):
    with pytest.raises(InputError, match=rf"monitor_metric={name}: is not computed.*; add {name}_\w+=FILE"):
        run_trainer("wav2lip", noise_data, tmp_path, expert, f"monitor_metric={name}")


def test_lpips_requires_both_files(noise_data, expert, files, tmp_path):
    with pytest.raises(InputError, match="lpips_weights=None: must be set together"):
        run_trainer("wav2lip", noise_data, tmp_path, expert, f"lpips_backbone={files['lpips_backbone']}")


def test_threshold_requires_a_lower_is_better_metric(noise_data, expert, tmp_path):
    with pytest.raises(InputError, match=r"early_stopping.threshold=0.5: sharpness"):
        run_trainer("wav2lip", noise_data, tmp_path, expert, "monitor_metric=sharpness", "early_stopping.threshold=0.5")
