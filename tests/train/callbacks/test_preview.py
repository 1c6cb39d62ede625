"""Preview: validation frames beside what the generator makes of them, with their audio."""

import av
import numpy as np
import pytest
import torch

from models import SyncNet, Wav2Lip
from tests.helpers.trainers import load_step, run_trainer
from train.callbacks.preview import Excerpt, PreviewVideo, build_preview
from train.data.index import WindowIndex
from train.data.samples import GeneratorSamples, open_dataset
from train.validation.runner import ValidationResult
from wav2lip.audio import load_wav
from wav2lip.checkpoints import Checkpoint, save_checkpoint
from wav2lip.dataset.clip import ClipWriter
from wav2lip.errors import InputError

GRAYS = np.linspace(0, 255, 60).astype(np.uint8)  # of frame n of the clip below
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A clip of 60 frames that get brighter, without frame 10, its audio a click at 1 s; and a short clip."""
    root = tmp_path_factory.mktemp("ramp")
    with ClipWriter(root, "a/0") as clip:
        for frame in [*range(10), *range(11, 60)]:
            clip.write_frame(frame, np.full((32, 32, 3), GRAYS[frame], np.uint8))
        audio = np.zeros(60 * 640, np.float32)
        audio[16_000:16_080] = 0.9
        clip.write_audio([audio])
    with ClipWriter(root, "a/1") as clip:
        for frame in range(20):
            clip.write_frame(frame, np.full((32, 32, 3), 90, np.uint8))
        clip.write_audio([np.zeros(20 * 640, np.float32)])
    (root / "val.txt").write_text("a/1\na/0\n")
    return open_dataset(root, root / "val.txt", WindowIndex.for_generator, GeneratorSamples(), data_source="clips")


def make_result(step):
    return ValidationResult(step, {}, None, True)


def read_video(path):
    """Return frames (N, H, W, 3), their rate, and the audio."""
    with av.open(str(path)) as video:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)])
        return frames, video.streams.video[0].average_rate, load_wav(path)


def white_lower_half(batch):
    out = batch.target.clone()
    out[..., 48:, :] = 1
    return out


def test_preview_shows_truth_input_and_result_with_audio(dataset, tmp_path):
    preview = build_preview(dataset, 1.0, tmp_path, white_lower_half, CPU)
    preview.on_validation(None, make_result(3000))
    frames, rate, audio = read_video(tmp_path / "previews" / "step000003000.mp4")
    assert frames.shape == (25, 192, 3 * 192, 3)  # crops of 96 pixels are enlarged by 2
    assert rate == 25
    # After the gap: frames 11 to 35 of the longer clip.
    upper, lower = frames[:, 40], frames[:, 150]
    for panel in range(3):
        assert np.abs(upper[:, 96 + 192 * panel, 0].astype(int) - GRAYS[11:36]).max() <= 6
    truth, masked, result = (lower[:, 96 + 192 * panel, 0] for panel in range(3))
    assert np.abs(truth.astype(int) - GRAYS[11:36]).max() <= 6
    assert masked.max() < 10
    assert result.min() > 245  # white before encoding
    # The click at 1 s of the clip is at 1 - 11 / 25 s of the excerpt.
    assert np.abs(audio).argmax() / 16_000 == pytest.approx(1 - 11 / 25, abs=0.006)
    assert len(audio) / 16_000 == pytest.approx(1.0, abs=0.05)


def test_reference_is_one_frame_from_the_end_of_the_clip(dataset):
    reference = Excerpt.from_longest_run(dataset, 1.0).batch.reference
    assert reference.float().std() == 0
    assert abs(int(reference[0, 0, 0, 0, 0]) - GRAYS[55]) <= 2


def test_excerpt_is_as_long_as_the_clip_at_most(dataset):
    excerpt = Excerpt.from_longest_run(dataset, 60.0)
    # Anchors 11 to 53 have all their audio (the last ends at frame 57 plus 4); 47 frames hold nine disjoint windows.
    assert excerpt.batch.target.shape[:2] == (9, 5)
    assert len(excerpt.audio) == 45 * 640


def test_unwritable_folder_logs_a_warning(dataset, tmp_path, caplog):
    (tmp_path / "previews").write_text("in the way")
    build_preview(dataset, 0.2, tmp_path, white_lower_half, CPU).on_validation(None, make_result(7))
    assert "no preview of step 7" in caplog.text


def test_zero_seconds_write_none_and_less_is_rejected(dataset, tmp_path):
    assert build_preview(dataset, 0.0, tmp_path, white_lower_half, CPU) is None
    with pytest.raises(InputError, match="preview_seconds=-1"):
        build_preview(dataset, -1.0, tmp_path, white_lower_half, CPU)


def test_run_previews_each_validation_with_averaged_weights(noise_data, tmp_path, monkeypatch):
    recorded = []
    original = PreviewVideo.on_validation

    def record(preview, state, result):
        inputs = preview.excerpt.batch.inputs()
        recorded.append((inputs, preview.generate(inputs)))
        original(preview, state, result)

    monkeypatch.setattr(PreviewVideo, "on_validation", record)
    save_checkpoint(tmp_path / "expert.pth", Checkpoint(SyncNet(width=0.125).state_dict()))
    folder = run_trainer("wav2lip", noise_data, tmp_path / "run", tmp_path / "expert.pth", "preview_seconds=0.4",
                         "ema_decay=0.9")  # fmt: skip
    names = [path.name for path in sorted((folder / "previews").iterdir())]
    assert names == ["step000000003.mp4", "step000000006.mp4"]
    inputs, frames = recorded[-1]
    checkpoint = load_step(folder, 6)
    assert torch.allclose(frames, generate(checkpoint.state_dict, inputs), atol=1e-5)
    assert not torch.allclose(frames, generate(checkpoint.extras["own_weights"], inputs), atol=1e-4)


@torch.no_grad()
def generate(state_dict, inputs):
    generator = Wav2Lip(width=0.125).eval()
    generator.load_state_dict(state_dict)
    return generator(inputs.frame_mels, inputs.faces)
