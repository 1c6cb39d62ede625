"""What a trainer is validated on, and the scores it gets there."""

import json
import math
import os
import shutil
import subprocess
import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from models import SyncNet
from tests.train.conftest import run
from tests.train.test_losses_and_steps import generator_batch, loss_weights, sync_batch
from train.data.draws import Runs
from train.data.held_out import evenly, everywhere, surrounded
from train.data.samples import (
    ClipWindows,
    GeneratorInputs,
    GeneratorSamples,
    SyncNetInputs,
    SyncNetSamples,
    Windows,
    open_windows,
)
from train.data.sources import Reading
from train.expert import judged
from train.generator_step import GeneratorStep
from train.scores.generator_scores import score_generator
from train.scores.shift_curve import curve_scores, measure, picture_of
from train.scores.syncnet_scores import score_expert
from train.scores.validation import Validation
from train.syncnet_step import SyncNetStep
from wav2lip.clips import ClipWriter
from wav2lip.errors import InputError
from wav2lip.shift_curve import SHIFTS, ShiftCurve

SYNCNET = partial(ClipWindows.for_syncnet, min_shift=5)
LATE = 3  # frames that the sound of the painted clips lies after their lips


@pytest.fixture(scope="module")
def clips(noise_data, tmp_path_factory):
    """The three clips of noise, all held out."""
    root = tmp_path_factory.mktemp("held_out") / "data"
    shutil.copytree(noise_data, root)
    (root / "filelists" / "val.txt").write_text("".join(f"speaker{n}/00000\n" for n in range(3)))
    return root


def expert_windows(root, seed=0):
    return open_windows(root, root / "filelists" / "val.txt", SYNCNET, SyncNetSamples(5), seed=seed)


def process(rank, ranks):
    return SimpleNamespace(global_rank=rank, world_size=ranks, device=torch.device("cpu"))


def test_places_are_chosen_evenly_and_every_clip_has_one():
    clip = torch.tensor([0] * 10 + [1] * 2 + [2] * 4)
    # one each; of three more, shared out as 9 : 1 : 3, two and one; in the middles of equal parts of each clip
    assert evenly(clip, 6).tolist() == [1, 5, 8, 11, 13, 15]
    assert evenly(clip, 3).tolist() == [5, 11, 14]
    assert evenly(clip, 1).tolist() == [11]  # the middle clip
    assert evenly(clip, 16).tolist() == evenly(clip, 99).tolist() == list(range(16))
    assert evenly(clip[:0], 4).tolist() == []


@pytest.mark.parametrize("count", [8, 9, 40])
def test_the_expert_is_shown_each_anchor_with_its_own_mouth_and_with_one_far_away(count, clips):
    picks = everywhere(expert_windows(clips), count).picks
    assert len(picks.clip) == count // 2 * 2
    assert set(picks.clip.tolist()) == {0, 1, 2}
    right = picks.anchor == picks.other
    pairs = list(zip(picks.clip.tolist(), picks.anchor.tolist(), strict=True))
    assert sorted(pair for pair, r in zip(pairs, right, strict=True) if r) == sorted(set(pairs))
    assert sorted(pair for pair, r in zip(pairs, right, strict=True) if not r) == sorted(set(pairs))
    assert ((picks.anchor - picks.other)[~right].abs() >= 5).all()


def test_all_is_every_anchor_of_the_held_out_clips(clips):
    # 50 frames have 46 whole windows, 0 to 45; 2 s of sound have 161 mel columns, so the last heard one begins at
    # column 145 at the latest, which is frame 45 (144).
    held_out = everywhere(expert_windows(clips), None)
    assert len(held_out) == 2 * 3 * 46
    windows = open_windows(clips, clips / "filelists" / "val.txt", ClipWindows.for_generator, GeneratorSamples())
    # Frame 0 has no sound before it. The last frame of window 42 is 46, whose own sound begins with frame 45.
    assert len(everywhere(windows, None)) == 3 * len(range(1, 42 + 1))


def test_the_set_is_the_same_at_each_validation_and_for_any_seed_of_the_training(clips):
    sets = [Validation(process(0, 1), expert_windows(clips, seed), 4, 10) for seed in (0, 1)]
    given = [list(sets[0].batches(3)), list(sets[0].batches(6)), list(sets[1].batches(3))]
    assert [len(batch.label) for batch in given[0]] == [4, 4, 2]
    for other in given[1:]:
        for a, b in zip(given[0], other, strict=True):
            assert torch.equal(a.frames, b.frames)
            assert torch.equal(a.mel, b.mel)
            assert torch.equal(a.label, b.label)


def test_processes_share_the_set_without_losing_any(clips):
    windows = expert_windows(clips)
    whole = torch.cat([batch.mel for batch in Validation(process(0, 1), windows, 4, 14).batches(0)])
    shares = [torch.cat([b.mel for b in Validation(process(rank, 3), windows, 4, 14).batches(0)]) for rank in range(3)]
    assert [len(share) for share in shares] == [5, 5, 4]
    for rank, share in enumerate(shares):
        assert torch.equal(share, whole[rank::3])


def test_more_processes_than_held_out_windows_are_refused(clips):
    with pytest.raises(InputError, match="the held-out clips have 2 windows, fewer than 3 processes"):
        Validation(process(0, 3), expert_windows(clips), 4, 2)


def test_a_damaged_picture_costs_its_windows_alone(clips, tmp_path, caplog):
    root = tmp_path / "data"
    shutil.copytree(clips, root)
    held_out = everywhere(expert_windows(root), 12)
    first = int(held_out.picks.other[0])
    names = held_out.clips[int(held_out.picks.clip[0])]
    (root / names / f"{first}.jpg").write_bytes(b"no picture")
    seen = (held_out.picks.clip == held_out.picks.clip[0]) & ((held_out.picks.other - first).abs() < 5)
    seen &= held_out.picks.other <= first
    batch = held_out.__getitems__(range(12))
    assert len(batch.label) == 12 - int(seen.sum())
    assert f"left out of validation: {names}/{first}.jpg" in caplog.text


class Painted:
    """Two clips of which each picture is painted with its number, and the sound says which picture it belongs to."""

    names = ("a", "b")
    reading = Reading.GATHERED

    def __init__(self, frames=80):
        columns = int(frames * 3.2)
        self.runs = Runs(
            torch.tensor([0, 1]), torch.tensor([0, 0]), torch.tensor([frames] * 2), torch.tensor([columns] * 2)
        )

    def pictures(self, clip, first):
        return first.to(torch.uint8)[:, None, None, None, None].expand(-1, 5, 96, 96, 3).contiguous()

    def mels(self, clip, columns):
        return (columns / 3.2 - LATE)[:, :, None, None].expand(-1, -1, 80, 16).float().contiguous()


class Knowing(nn.Module):
    """An expert that reads the number off picture and sound, and makes a direction of it."""

    def face_encoder(self, faces):
        return self.direction(faces.mean(dim=(1, 2, 3)) * 255)

    def audio_encoder(self, mel):
        return self.direction(mel.mean(dim=(1, 2, 3)))

    @staticmethod
    def direction(number):
        angle = number[:, None] / 100
        return torch.cat([angle.cos(), angle.sin()], dim=1)

    def forward(self, mel, faces):
        return self.audio_encoder(mel), self.face_encoder(faces)


class FollowsTheSound(nn.Module):
    """A generator that paints the number it hears."""

    def forward(self, frame_mels, faces):
        number = frame_mels[:, 1].mean(dim=(1, 2, 3))
        return (number / 255)[:, None, None, None, None].expand(-1, 3, 5, 96, 96)


@pytest.fixture
def fabric():
    return Fabric(accelerator="cpu", devices=1)


def curve_of(fabric, step, samples, windows_of):
    source = Painted()
    around = surrounded(Windows(source, windows_of(source.runs), samples, 0, False), 10, SHIFTS)
    batch = around.__getitems__(range(len(around)))
    assert set(around.picks.clip.tolist()) == {0, 1}
    return measure(fabric, step.expert, [step.shown(batch.inputs())])


def test_the_curve_finds_by_how_many_frames_the_sound_is_late(fabric):
    curve = curve_of(fabric, SyncNetStep(fabric, Knowing()), SyncNetSamples(5), SYNCNET)
    assert curve.offset == LATE
    by_hand = [1 - math.cos((shift - LATE) / 100) for shift in SHIFTS]
    # a column is cut down to a whole one: up to a frame's 1 / 3.2
    assert curve.distance == pytest.approx(by_hand, abs=1 - math.cos(0.01) + 0.002)


def test_the_offset_of_generated_lips_is_that_to_the_sound_they_are_made_for(fabric):
    step = GeneratorStep(fabric, FollowsTheSound(), Knowing(), loss_weights(0.0))
    assert curve_of(fabric, step, GeneratorSamples(), ClipWindows.for_generator).offset == 0


def test_the_margin_of_a_curve_is_its_median_less_its_minimum():
    distance = np.full(31, 0.9)
    distance[[4, 20, 21]] = [0.95, 0.2, 0.4]
    curve = ShiftCurve(distance)
    assert curve_scores(curve) == {
        "expert_distance": 0.2, "expert_confidence": pytest.approx(0.7), "expert_offset": 5.0,
    }  # fmt: skip
    picture = picture_of(curve)
    assert picture.shape == (3, 350, 600)
    assert 0 <= picture.min() < 0.5 < picture.max() <= 1


def test_no_curve_is_measured_where_clips_are_too_short_and_that_is_said(fabric, caplog):
    source = Painted(frames=30)
    windows = Windows(source, SYNCNET(source.runs), SyncNetSamples(5), 0, False)
    validation = Validation(process(0, 1), windows, 4, 8)
    assert "no held-out clip has 0.6 s of sound around a window" in caplog.text
    assert measure(fabric, Knowing(), validation.batches_around()) is None


@pytest.mark.parametrize("trainer", ["syncnet", "wav2lip"])
def test_the_margin_of_a_curve_that_cannot_be_measured_is_not_followed(trainer, expert, tmp_path):
    with ClipWriter(tmp_path, "speaker/0") as clip:
        for frame in range(30):
            clip.write_frame(frame, np.full((24, 20, 3), frame, np.uint8))
        clip.write_audio([np.zeros(19_200, np.float32)])
    (tmp_path / "filelists").mkdir()
    for split in ("train", "val"):
        (tmp_path / "filelists" / f"{split}.txt").write_text("speaker/0\n")
    with pytest.raises(InputError, match=r"watch=expert_confidence: no held-out clip has 0.6 s of sound"):
        run(trainer, tmp_path, tmp_path / "run", expert, "watch=expert_confidence", "max_steps=1")
    assert not list((tmp_path / "run").glob("*.pth"))


class WithoutDoubles(torch.Tensor):
    """As on a device that has no float64, as Apple's have none, until it is brought to the CPU."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func is torch.Tensor.cpu:
            return args[0].as_subclass(torch.Tensor)
        made = super().__torch_function__(func, types, args, kwargs)
        if isinstance(made, cls) and made.dtype == torch.float64:
            raise TypeError("this device has no float64")
        return made


def test_a_curve_is_measured_on_a_device_without_float64():
    # what is sent to a meta device is lost, so nothing may be: there is one process
    fabric = SimpleNamespace(world_size=1, device=torch.device("meta"), autocast=nullcontext)
    torch.manual_seed(0)
    lips, sounds = torch.rand(2, 15, 48, 96), torch.rand(2, 31, 80, 16)
    expert = SyncNet(width=0.125)
    there = measure(fabric, expert, [(lips.as_subclass(WithoutDoubles), sounds.as_subclass(WithoutDoubles))])
    assert there.distance == pytest.approx(measure(fabric, expert, [(lips, sounds)]).distance)
    with pytest.raises(TypeError, match="no float64"):
        lips.as_subclass(WithoutDoubles).double()


def test_an_expert_in_training_mode_judges_a_window_that_is_left_alone(noise_data, expert, tmp_path):
    # batches of four windows, and one of the fifth
    folder = run("wav2lip", noise_data, tmp_path, expert, "compat=public", "recipe=public", "eval_windows=5",
                 "max_steps=1")  # fmt: skip
    curves = EventAccumulator(str(folder / "tensorboard")).Reload()
    for name in ("sync", "sync_of_truth", "sync_of_input"):
        assert all(math.isfinite(event.value) for event in curves.Scalars(f"val/{name}"))
    with pytest.raises(InputError, match="batch_size=1: an expert in training mode normalises over a batch"):
        run("wav2lip", noise_data, tmp_path / "one", expert, "compat=public", "batch_size=1")


def test_a_window_that_is_left_alone_is_judged_by_what_the_expert_has_learned():
    torch.manual_seed(0)
    expert = SyncNet(width=0.125)
    mel, lips = torch.rand(2, 1, 80, 16), torch.rand(2, 15, 48, 96)
    alone, pair = judged(expert.train(), mel[:1], lips[:1]), judged(expert, mel, lips)
    assert expert.training
    with torch.no_grad():
        fresh = SyncNet(width=0.125)
        fresh.load_state_dict(expert.state_dict())
        torch.testing.assert_close(pair[0], fresh.train()(mel, lips)[0])
    torch.manual_seed(0)
    torch.testing.assert_close(alone[0], SyncNet(width=0.125).eval()(mel[:1], lips[:1])[0])


def test_the_curve_leaves_the_expert_in_the_mode_it_was_in(fabric):
    for training in (True, False):
        expert = Knowing().train(training)
        measure(fabric, expert, [])
        assert expert.training == training


def test_every_window_counts_alike_in_whatever_batch_it_is(fabric):
    batch = generator_batch(torch.float32)
    parts = [GeneratorInputs(*(part[rows] for part in batch)) for rows in (slice(0, 3), slice(3, 4))]
    step = GeneratorStep(fabric, FollowsTheSound(), Knowing(), loss_weights(0.1))
    assert step.validate(parts) == pytest.approx(step.validate([batch]), rel=1e-5)
    pairs = sync_batch(torch.float32)
    parts = [SyncNetInputs(*(part[rows] for part in pairs)) for rows in (slice(0, 3), slice(3, 4))]
    assert score_expert(fabric, Knowing(), parts) == score_expert(fabric, Knowing(), [pairs])


def test_the_scores_of_a_mouth_are_of_the_lower_half(fabric):
    target = torch.full((2, 3, 5, 96, 96), 0.4)
    made = target.clone()
    made[..., :48, :] = 0  # another upper half is seen by l1 alone
    made[..., 48:, :] += 0.2

    class Makes(nn.Module):
        def forward(self, *_):
            return made

    batch = GeneratorInputs(
        torch.zeros(2, 6, 5, 96, 96), torch.zeros(2, 5, 1, 80, 16), torch.zeros(2, 1, 80, 16), target
    )
    l1 = {"l1": (made - target).abs().mean()}
    scores = score_generator(fabric, Makes(), Knowing(), [batch], lambda *_: dict(l1))
    assert scores["l1"] == pytest.approx(0.3)
    assert scores["l1_mouth"] == pytest.approx(0.2)
    assert scores["psnr_mouth"] == pytest.approx(20 * math.log10(5), abs=1e-3)
    # flat pictures of 0.6 and 0.4: (2 * 0.6 * 0.4 + 0.0001) / (0.36 + 0.16 + 0.0001)
    assert scores["ssim_mouth"] == pytest.approx(0.4801 / 0.5201, abs=1e-4)


def test_an_expert_that_has_come_to_nothing_but_nan_has_scores_nonetheless(fabric):
    class Broken(Knowing):
        def forward(self, mel, faces):
            return torch.full((len(mel), 2), math.nan), self.face_encoder(faces)

    assert math.isnan(score_expert(fabric, Broken(), [sync_batch(torch.float32)])["loss"])


IN_PROCESSES = """
import json, sys
from pathlib import Path
import torch
from lightning_fabric import Fabric
from tests.train.test_validation import scores_of

fabric = Fabric(accelerator="cpu", devices=int(sys.argv[3]))
fabric.launch()
scores = scores_of(fabric, Path(sys.argv[1]))
if fabric.is_global_zero:
    Path(sys.argv[2]).write_text(json.dumps(scores))
if fabric.world_size > 1:
    torch.distributed.barrier()  # a process that ends while another still speaks to it takes it down
    torch.distributed.destroy_process_group()
"""


def scores_of(fabric, root):
    """Of a thin expert that never learned, on 14 windows; and where its curve lies."""
    torch.manual_seed(0)
    expert = SyncNet(width=0.125)
    validation = Validation(fabric, expert_windows(root), 4, 14)
    scores = score_expert(fabric, expert, (batch.inputs() for batch in validation.batches(0)))
    around = (batch.inputs() for batch in validation.batches_around())
    curve = measure(fabric, expert, ((batch.faces, batch.mel) for batch in around))
    return scores | {f"distance{n}": value for n, value in enumerate(curve.distance.tolist())}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="torchrun needs libuv, which Windows builds of torch lack")
def test_processes_with_unequal_shares_come_to_the_scores_of_one(clips, fabric, tmp_path):
    script, found = tmp_path / "score.py", tmp_path / "scores.json"
    script.write_text(IN_PROCESSES)
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=3", script, clips, found, "3"],
        capture_output=True, text=True, cwd=root, env=os.environ | {"PYTHONPATH": str(root)}, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(found.read_text()) == pytest.approx(scores_of(fabric, clips), rel=1e-5)
