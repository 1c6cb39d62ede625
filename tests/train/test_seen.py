"""Validations score frames as python -m wav2lip.evaluate scores videos, and best.pth can be chosen by any of that."""

import av
import cv2
import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import nn
from torchvision.models import alexnet

from models import SyncNet
from tests.train.conftest import run
from tests.train.test_losses_and_steps import loss_weights
from train.data.draws import ClipWindows
from train.data.held_out import surrounded
from train.data.samples import SyncNetSamples, open_windows
from train.generator_step import GeneratorStep
from train.scores.seen import ALWAYS, REMEDY, Seen, Viewers
from train.scores.shift_curve import curve_scores, measure
from train.scores.stopping import Watch
from train.syncnet_step import SyncNetStep
from wav2lip.audio import load_wav
from wav2lip.checkpoints import load_checkpoint
from wav2lip.clips import Clip, ClipWriter
from wav2lip.crops import to_network
from wav2lip.errors import InputError
from wav2lip.evaluation.judges import Judges
from wav2lip.evaluation.measure import measure_pictures
from wav2lip.evaluation.metrics.frechet import Cloud, frechet_distance
from wav2lip.evaluation.metrics.perceptual import CHANNELS
from wav2lip.evaluation.metrics.sync import OF_EXPERT, curve_of_expert, scores_of
from wav2lip.evaluation.settings import Settings
from wav2lip.evaluation.takes import Take
from wav2lip.sample import Speaker, render, speak
from wav2lip.shift_curve import SHIFTS


class Corners(nn.Module):
    """A network of features for FID that tells the means of three stripes."""

    def forward(self, faces):
        return faces.float().unflatten(2, (13, 23)).mean(dim=(3, 4))[:, :, :5].flatten(1)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Weights for LPIPS and FID that learned nothing, by config key."""
    folder = tmp_path_factory.mktemp("viewers")
    torch.manual_seed(0)
    torch.save({f"features.{k}": v for k, v in alexnet(weights=None).features.state_dict().items()}, folder / "a.pth")
    torch.save({f"lin{n}.model.1.weight": torch.rand(1, c, 1, 1) for n, c in enumerate(CHANNELS)}, folder / "l.pth")
    torch.jit.save(torch.jit.trace(Corners(), torch.zeros(2, 3, 299, 299, dtype=torch.uint8)), folder / "f.pt")
    return {"lpips_backbone": folder / "a.pth", "lpips_weights": folder / "l.pth", "fid_network": folder / "f.pt"}


def lossless(path, frames):
    """A video of exactly these frames (T, H, W, 3)."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "bgr0"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24").reformat(format="bgr0")))
        container.mux(stream.encode())
    return path


def spoilt(frames, seed):
    """The frames blurred and noisy."""
    noise = np.random.default_rng(seed).normal(0, 6, frames.shape)
    blurred = np.stack([cv2.GaussianBlur(frame, (0, 0), 1) for frame in frames])
    return np.clip(blurred + noise, 0, 255).astype(np.uint8)


def network_values(frames):
    """(T, H, W, 3) uint8 as one window (1, 3, T, H, W)."""
    return to_network(torch.from_numpy(frames)).transpose(0, 1)[None]


def test_frames_score_in_a_validation_what_the_evaluation_finds_in_a_video_of_them(portrait, files, tmp_path):
    true = np.stack([portrait[60 + n : 156 + n, 60:156] for n in range(5)])
    made = spoilt(true, 0)
    videos = [lossless(tmp_path / f"{name}.mkv", frames) for name, frames in (("made", made), ("true", true))]
    judges = Judges.of(Settings(**files, device="cpu", detector="haar"))
    take = Take("a", videos[0], truth=videos[1], face_only=True)
    found = measure_pictures(take, judges, None, np.zeros(3200, np.float32))
    real = measure_pictures(Take("a", videos[1], face_only=True), judges, None, np.zeros(3200, np.float32))
    expected = {name: found.scores.values[name] for name in (*ALWAYS, "lpips")}
    expected["flicker_of_truth"] = real.scores.values["flicker"]
    expected["fid"] = frechet_distance(Cloud.of([found.features]), Cloud.of([real.features]))
    assert 20 < expected["psnr_mouth"] < 40
    assert expected["sharpness"] != pytest.approx(1, abs=0.1)

    seen = Seen(Viewers.of(torch.device("cpu"), **files, fid_weights=None))
    seen.add(network_values(made), network_values(true))
    assert seen.scores(Fabric(accelerator="cpu", devices=1)) == pytest.approx(expected, rel=1e-5)


def test_the_expert_scores_a_clip_in_a_validation_as_it_does_in_the_evaluation(tmp_path):
    speaker = Speaker.from_seed(0)
    speech = speak(3, speaker, 0)
    with ClipWriter(tmp_path, "who/0") as writer:
        for number, frame in enumerate(render(speech, speaker, 0)):
            writer.write_frame(number, np.ascontiguousarray(frame[60:210, 50:200]))
        writer.write_audio([speech.wav])
    (tmp_path / "val.txt").write_text("who/0\n")
    torch.manual_seed(0)
    expert = SyncNet(width=0.125).eval()
    fabric = Fabric(accelerator="cpu", devices=1)

    samples = SyncNetSamples(5)
    windows = open_windows(tmp_path, tmp_path / "val.txt", lambda runs: ClipWindows.for_syncnet(runs, 5), samples)
    around = surrounded(windows, 1000, SHIFTS)
    batch = around.__getitems__(range(len(around))).inputs()
    found = curve_scores(measure(fabric, expert, [SyncNetStep(fabric, expert).shown(batch)]))

    clip = Clip.open(tmp_path / "who/0")
    faces = [clip.read(int(frame), 96) for frame in clip.frames]
    curve = curve_of_expert(expert, faces, load_wav(clip.path / "audio.wav"))
    expected = scores_of(curve, OF_EXPERT).values
    assert found == pytest.approx({name: expected[name] for name in found}, rel=1e-4)
    assert set(found) == {"expert_distance", "expert_confidence", "expert_offset"}


# By each score: what three validations find, and which of them is the best one.
FOUND = {
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


def test_each_score_of_the_evaluation_can_be_watched(files):
    viewers = Viewers.of(torch.device("cpu"), **files, fid_weights=None)
    step = GeneratorStep(
        Fabric(accelerator="cpu", devices=1), nn.Identity(), SyncNet(width=0.125), loss_weights(0.0), viewers=viewers
    )
    for name, (values, best) in FOUND.items():
        watch = Watch(name, step.watchable)
        for number, value in enumerate(values, start=1):
            watch.take({name: value}, number)
        assert (name, watch.best.step) == (name, best)


@pytest.mark.parametrize("name", ["sharpness", "fid"])
def test_best_pth_is_chosen_by_the_score_that_is_watched(name, noise_data, expert, files, tmp_path, monkeypatch):
    values, best = FOUND[name]
    left = iter(values)
    monkeypatch.setattr(GeneratorStep, "validate", lambda *_: {"sync": 1.0, name: next(left)})
    given = [f"fid_network={files['fid_network']}"] if name == "fid" else []
    folder = run("wav2lip", noise_data, tmp_path, expert, f"watch={name}", "max_steps=3", "eval_interval=1",
                 "batch_size=1", "eval_windows=1", *given)  # fmt: skip
    assert load_checkpoint(folder / "best.pth").global_step == best


@pytest.mark.parametrize("name", REMEDY)
def test_a_score_whose_weights_are_not_given_is_refused_with_the_remedy(name, noise_data, expert, tmp_path):
    with pytest.raises(InputError, match=rf"watch={name}: is not computed, .*; add {name}_\w+=FILE"):
        run("wav2lip", noise_data, tmp_path, expert, f"watch={name}")


def test_half_of_what_lpips_needs_is_refused(noise_data, expert, files, tmp_path):
    with pytest.raises(InputError, match="lpips_weights=None: one is nothing without the other"):
        run("wav2lip", noise_data, tmp_path, expert, f"lpips_backbone={files['lpips_backbone']}")


def test_an_offset_or_a_sharpness_is_no_mark_to_come_below(noise_data, expert, tmp_path):
    with pytest.raises(InputError, match=r"stop.below=0.5: sharpness is the better the nearer it is to 1"):
        run("wav2lip", noise_data, tmp_path, expert, "watch=sharpness", "stop.below=0.5")
