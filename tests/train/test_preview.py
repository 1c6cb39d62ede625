"""The preview: held-out frames beside what the generator makes of them, with their true sound."""

import av
import numpy as np
import pytest
import torch

from models import SyncNet, Wav2Lip
from tests.train.conftest import run
from train.data.draws import ClipWindows
from train.data.samples import GeneratorSamples, open_windows
from train.watching.preview import Excerpt, Preview, preview_of
from wav2lip.audio import load_wav
from wav2lip.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from wav2lip.clips import ClipWriter
from wav2lip.errors import InputError

GREYS = np.linspace(0, 255, 60).astype(np.uint8)  # what frame n of the clip below looks like


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    """A clip of 60 frames that get brighter, without frame 10, its sound a click at 1 s; and a short clip."""
    root = tmp_path_factory.mktemp("ramp")
    with ClipWriter(root, "a/0") as clip:
        for frame in [*range(10), *range(11, 60)]:
            clip.write_frame(frame, np.full((32, 32, 3), GREYS[frame], np.uint8))
        sound = np.zeros(60 * 640, np.float32)
        sound[16_000:16_080] = 0.9
        clip.write_audio([sound])
    with ClipWriter(root, "a/1") as clip:
        for frame in range(20):
            clip.write_frame(frame, np.full((32, 32, 3), 90, np.uint8))
        clip.write_audio([np.zeros(20 * 640, np.float32)])
    (root / "val.txt").write_text("a/1\na/0\n")
    return open_windows(root, root / "val.txt", ClipWindows.for_generator, GeneratorSamples(), form="clips")


def read(path):
    """Frames (N, H, W, 3), their rate, and the sound."""
    with av.open(str(path)) as video:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)])
        return frames, video.streams.video[0].average_rate, load_wav(path)


def white_lower_half(batch):
    out = batch.target.clone()
    out[..., 48:, :] = 1
    return out


def test_it_shows_truth_input_and_result_of_consecutive_frames_with_their_sound(windows, tmp_path):
    preview = preview_of(windows, 1.0, tmp_path, white_lower_half, torch.device("cpu"))
    preview.write(3000)
    frames, rate, sound = read(tmp_path / "previews" / "step000003000.mp4")
    assert frames.shape == (25, 192, 3 * 192, 3)  # twice the size of the crops, so that one can see them
    assert rate == 25
    # After the hole: frames 11..35 of the longer clip.
    upper, lower = frames[:, 40], frames[:, 150]
    for panel in range(3):
        assert np.abs(upper[:, 96 + 192 * panel, 0].astype(int) - GREYS[11:36]).max() <= 6
    truth, masked, result = (lower[:, 96 + 192 * panel, 0] for panel in range(3))
    assert np.abs(truth.astype(int) - GREYS[11:36]).max() <= 6
    assert masked.max() < 10
    assert result.min() > 245
    # The click at 1 s of the clip is at 1 - 11 / 25 s of the excerpt.
    assert np.abs(sound).argmax() / 16_000 == pytest.approx(1 - 11 / 25, abs=0.006)
    assert len(sound) / 16_000 == pytest.approx(1.0, abs=0.05)


def test_the_reference_is_one_frame_from_the_end_of_the_clip(windows):
    reference = Excerpt.longest(windows, 1.0).batch.reference
    assert reference.float().std() == 0
    assert abs(int(reference[0, 0, 0, 0, 0]) - GREYS[55]) <= 2


def test_a_clip_shorter_than_asked_for_is_shown_as_far_as_it_goes(windows):
    excerpt = Excerpt.longest(windows, 60.0)
    # Anchors 11..53 have all their sound (the last ends at frame 57 plus 4); 47 frames hold nine whole windows.
    assert excerpt.batch.target.shape[:2] == (9, 5)
    assert len(excerpt.sound) == 45 * 640


def test_a_disk_that_takes_no_preview_is_named_and_training_goes_on(windows, tmp_path, caplog):
    (tmp_path / "previews").write_text("in the way")
    preview_of(windows, 0.2, tmp_path, white_lower_half, torch.device("cpu")).write(7)
    assert "no preview of step 7" in caplog.text


def test_none_is_made_for_zero_seconds_and_fewer_are_refused(windows, tmp_path):
    device = torch.device("cpu")
    assert preview_of(windows, 0.0, tmp_path, white_lower_half, device) is None
    with pytest.raises(InputError, match="preview_seconds=-1"):
        preview_of(windows, -1.0, tmp_path, white_lower_half, device)


def test_a_training_leaves_a_preview_of_each_validation_painted_with_the_averaged_weights(
    noise_data, tmp_path, monkeypatch
):
    painted = []
    write = Preview.write

    def noted(preview, step):
        inputs = preview.excerpt.batch.inputs()
        painted.append((inputs, preview.paint(inputs)))
        write(preview, step)

    monkeypatch.setattr(Preview, "write", noted)
    save_checkpoint(tmp_path / "expert.pth", Checkpoint(SyncNet(width=0.125).state_dict()))
    folder = run("wav2lip", noise_data, tmp_path / "run", tmp_path / "expert.pth", "preview_seconds=0.4", "ema=0.9")
    names = [path.name for path in sorted((folder / "previews").iterdir())]
    assert names == ["step000000003.mp4", "step000000006.mp4"]
    inputs, shown = painted[-1]
    checkpoint = load_checkpoint(folder / "checkpoint_step000000006.pth")
    assert torch.allclose(shown, result_of(checkpoint.state_dict, inputs), atol=1e-5)
    assert not torch.allclose(shown, result_of(checkpoint.extras["own_weights"], inputs), atol=1e-4)


@torch.no_grad()
def result_of(state_dict, inputs):
    generator = Wav2Lip(width=0.125).eval()
    generator.load_state_dict(state_dict)
    return generator(inputs.frame_mels, inputs.faces)
