"""Restoration of faces and frames by small networks of the real architectures with random weights."""

import pickle

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from spandrel.architectures.ESRGAN import ESRGAN
from spandrel.architectures.GFPGAN import GFPGAN
from spandrel.architectures.LaMa import LaMa
from spandrel.architectures.RestoreFormer import RestoreFormer

from models import Wav2Lip
from tests.helpers.lipsync import scripted_lipsync
from tests.helpers.media import tone
from tests.helpers.restoration import build_compact, save_network
from wav2lip.engine.interface import FaceTarget, FrameItem
from wav2lip.errors import InputError
from wav2lip.faces.landmark_alignment import (
    TEMPLATE,
    crop_aligned,
    estimate_alignment,
    fit_similarity,
    paste_aligned,
)
from wav2lip.lipsync import LipSyncOptions
from wav2lip.restoration.enhancement import Enhancer
from wav2lip.restoration.models import load_restorer

CPU = torch.device("cpu")
POINTS = np.array([[100, 90], [150, 80], [130, 110], [112, 140], [150, 132]], np.float32)


def build_esrgan():
    """Return a Real-ESRGAN network with one of its 23 blocks."""
    torch.manual_seed(0)
    return ESRGAN(num_filters=8, num_blocks=1, scale=2).eval()


def build_restoreformer():
    torch.manual_seed(0)
    return RestoreFormer(n_embed=16, embed_dim=32, ch=32, ch_mult=(1,) * 6, num_res_blocks=1, z_channels=32).eval()


@torch.inference_mode()
def restore_whole_images(network, images):
    """Run a network on whole images, (N, H, W, 3) uint8."""
    out = network(torch.from_numpy(images.copy()).movedim(-1, 1) / 255)
    return (out.clamp(0, 1) * 255).round().byte().movedim(1, -1).numpy()


def random_images(*shape):
    return np.random.default_rng(3).integers(0, 256, (*shape, 3), np.uint8)


@pytest.mark.parametrize(("network", "scale"), [(build_compact(1), 1), (build_compact(4), 4), (build_esrgan(), 2)],
                         ids=["compact", "compact x4", "esrgan x2"])  # fmt: skip
def test_tiles_equal_whole_image(tmp_path, network, scale, monkeypatch):
    monkeypatch.setattr("wav2lip.restoration.models.TILE_PIXELS", 48)
    monkeypatch.setattr("wav2lip.restoration.models.TILE_MARGIN_PIXELS", 40)  # for the receptive field of ESRGAN
    restore, images = load_restorer(save_network(tmp_path / "net.pth", network), CPU), random_images(2, 70, 101)
    restored = restore(images)
    assert restored.shape == (2, 70 * scale, 101 * scale, 3)
    np.testing.assert_allclose(restored.astype(int), restore_whole_images(network, images), atol=1)
    np.testing.assert_array_equal(np.concatenate([restore(images[:1]), restore(images[1:])]), restored)


def test_restorer_halves_batch_when_out_of_memory(tmp_path, monkeypatch, caplog):
    restore, images = load_restorer(save_network(tmp_path / "net.pth", build_compact(2)), CPU), random_images(5, 24, 32)
    expected, run, batch_sizes = restore(images), restore._run, []

    def run_limited(batch):
        batch_sizes.append(len(batch))
        if len(batch) > 2:
            raise torch.OutOfMemoryError("full")
        return run(batch)

    monkeypatch.setattr(restore, "_run", run_limited)
    restore.batcher.size = 4
    assert np.abs(restore(images).astype(int) - expected).max() <= 1
    assert batch_sizes == [4, 2, 2, 1]
    assert "batch size reduced to 2" in caplog.text


@pytest.mark.parametrize("wrap", [
    lambda weights: weights, lambda weights: {"params": weights},
    lambda weights: {"state_dict": {f"module.{key}": value for key, value in weights.items()}, "epoch": 3},
], ids=["bare", "params", "state_dict of several GPUs"])  # fmt: skip
def test_load_restorer_unwraps_weights(tmp_path, wrap):
    network, images = build_compact(2), random_images(1, 20, 20)
    restore = load_restorer(save_network(tmp_path / "net.pth", network, wrap), CPU)
    np.testing.assert_allclose(restore(images).astype(int), restore_whole_images(network, images), atol=1)


def test_load_restorer_reads_safetensors(tmp_path):
    network, images = build_compact(2), random_images(1, 20, 20)
    save_file(network.state_dict(), tmp_path / "net.safetensors")
    restored = load_restorer(tmp_path / "net.safetensors", CPU)(images)
    np.testing.assert_allclose(restored.astype(int), restore_whole_images(network, images), atol=1)


class Exploit:
    """Create a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (open, (str(self.mark), "w"))


def test_load_restorer_rejects_other_files_safely(tmp_path):
    cases = {
        "generator.pth": (
            lambda path: save_network(path, Wav2Lip(width=0.0625)),
            "Wav2Lip generator, not an image",
        ),
        "gray.pth": (lambda path: save_network(path, build_compact(channels=1)), "from 1 to 1 channels"),
        "trap.pth": (
            lambda path: path.write_bytes(pickle.dumps(Exploit(tmp_path / "mark"))),
            "a pickle that",
        ),
        "text.pth": (lambda path: path.write_text("no weights"), "text.pth: "),
        "text.safetensors": (lambda path: path.write_text("no weights"), "is a text file"),
        "numbers.pth": (lambda path: torch.save({"params": {"a": 1}}, path), "no weights of a network"),
        "list.pth": (lambda path: torch.save([1], path), "no weights of a network"),
        "other.pth": (lambda path: save_network(path, torch.nn.Linear(2, 2)), "not an image restoration"),
        "cut.pth": (lambda path: torch.save(remove_layer(build_compact()), path), "layers do not match"),
        "absent.pth": (lambda path: None, "absent.pth: no such"),
    }
    for name, (write, message) in cases.items():
        write(tmp_path / name)
        with pytest.raises(InputError, match=message) as raised:
            load_restorer(tmp_path / name, CPU)
        assert str(raised.value).startswith(str(tmp_path / name))
        assert "\n" not in str(raised.value)
    assert not (tmp_path / "mark").exists()


def remove_layer(network):
    weights = dict(network.state_dict())
    del weights["body.2.weight"]
    return weights


def test_options_reject_impossible_enhancement(tmp_path, portrait):
    path = save_network(tmp_path / "face.pth", build_restoreformer())
    with pytest.raises(InputError, match=r"face\.pth: .*; .*--enhancer"):
        scripted_lipsync([(90, 60, 200, 180)]).stream(
            portrait, (tone(0.1), 16_000), LipSyncOptions(background_enhancer=path)
        )
    with pytest.raises(InputError, match="--upscale: requires a network"):
        LipSyncOptions(upscale=True)
    with pytest.raises(InputError, match="--enhancer_strength=1.5"):
        LipSyncOptions(enhancer_strength=1.5)
    with pytest.raises(InputError, match="--enhancer_strength: requires --enhancer or --background_enhancer"):
        LipSyncOptions(enhancer_strength=0.5)


def test_modified_restorer_file_is_loaded_again(tmp_path, portrait):
    lipsync, sizes = scripted_lipsync([(90, 60, 200, 180)]), []
    for scale in (2, 4):
        path = save_network(tmp_path / "net.pth", build_compact(scale))
        with lipsync.stream(
            portrait, (tone(0.1), 16_000), LipSyncOptions(background_enhancer=path, upscale=True)
        ) as stream:
            sizes.append(stream.size)
    assert sizes == [(512, 512), (1024, 1024)]


def test_estimate_alignment_maps_landmarks_to_template():
    rotation = np.array([[0.8, -0.3], [0.3, 0.8]])
    landmarks = (TEMPLATE - 40) @ rotation.T
    matrix = estimate_alignment(FaceTarget((0, 0, 9, 9), landmarks.astype(np.float32)))
    np.testing.assert_allclose(landmarks @ matrix[:, :2].T + matrix[:, 2], TEMPLATE, atol=1e-3)
    actual, robust = fit_similarity(POINTS.astype(float), TEMPLATE), cv2.estimateAffinePartial2D(POINTS, TEMPLATE)[0]

    def error(m):
        return (((POINTS @ m[:, :2].T + m[:, 2]) - TEMPLATE) ** 2).sum()

    assert error(actual) <= error(robust) + 1e-6
    np.testing.assert_allclose(actual, robust, rtol=0.2, atol=12)  # OpenCV minimizes a robust error, not squares


def test_paste_aligned_inverts_crop_aligned(portrait):
    frame = cv2.GaussianBlur(portrait, (0, 0), 1.5)
    matrix = estimate_alignment(FaceTarget((0, 0, 9, 9), POINTS))
    face, restored = crop_aligned(frame, matrix), frame.copy()
    paste_aligned(restored, face, matrix, 1.0)
    # Two interpolations soften edges.
    assert np.abs(restored.astype(int) - frame).max() <= 6
    assert np.abs(restored.astype(int) - frame).mean() < 0.5


@pytest.mark.parametrize("landmarks", [POINTS, None], ids=["landmarks", "box alone"])
def test_enhancer_strength_scales_change_of_face_only(tmp_path, portrait, landmarks):
    restore = load_restorer(save_network(tmp_path / "net.pth", build_compact()), CPU)
    frame = np.pad(portrait, ((0, 200), (0, 300), (0, 0)), mode="reflect")
    target = FaceTarget((90, 60, 160, 150), landmarks)

    def enhance(strength, targets=(target,)):
        (item,) = Enhancer(restore, None, strength, False)([FrameItem(0, frame.copy(), targets)])
        return item.frame.astype(int)

    np.testing.assert_array_equal(enhance(0.0), frame)
    np.testing.assert_array_equal(enhance(1.0, ()), frame)
    change = np.abs(enhance(1.0) - frame).max(axis=2)
    corners = np.array([[0, 0], [512, 0], [512, 512], [0, 512]]) - estimate_alignment(target)[:, 2]
    corners = corners @ np.linalg.inv(estimate_alignment(target)[:, :2]).T
    square = cv2.fillConvexPoly(np.zeros(change.shape, np.uint8), np.rint(corners).astype(np.int32), 1)
    assert change[cv2.dilate(square, np.ones((5, 5))) == 0].max() == 0
    assert change[100:130, 110:140].mean() > 10  # the middle of the face
    half = enhance(0.5)
    np.testing.assert_allclose(half, (enhance(1.0) + frame) / 2, atol=1)


def test_enhancer_restores_faces_independently(tmp_path):
    restore = load_restorer(save_network(tmp_path / "net.pth", build_compact(2)), CPU)
    frames = random_images(3, 200, 420)
    left, right = FaceTarget((20, 40, 90, 120)), FaceTarget((300, 40, 370, 120))

    def enhance(targets):
        items = [FrameItem(n, frame.copy(), targets) for n, frame in enumerate(frames)]
        return [left_only.frame for left_only in Enhancer(restore, None, 1.0, False)(items)]

    for both, left_only, right_only in zip(enhance([left, right]), enhance([left]), enhance([right]), strict=True):
        np.testing.assert_array_equal(both[:, :200], left_only[:, :200])
        np.testing.assert_array_equal(both[:, 220:], right_only[:, 220:])


@pytest.mark.parametrize("upscale", [False, True])
def test_enhancer_changes_size_only_with_upscale(tmp_path, upscale):
    network, frame = build_compact(2), cv2.GaussianBlur(random_images(60, 90), (0, 0), 2)
    restore = load_restorer(save_network(tmp_path / "net.pth", network), CPU)
    target = FaceTarget((10, 20, 40, 50), POINTS)
    (item,) = Enhancer(None, restore, 1.0, upscale)([FrameItem(0, frame.copy(), [target])])
    large = restore_whole_images(network, frame[None])[0]
    expected = large if upscale else large.reshape(60, 2, 90, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(item.frame, expected, atol=1.5)
    assert item.targets[0].box == ((20, 40, 80, 100) if upscale else target.box)


def test_enhancer_places_face_in_upscaled_frame(tmp_path, portrait):
    face_restorer = load_restorer(save_network(tmp_path / "one.pth", build_compact()), CPU)
    face_restorer._run = lambda images: images  # identity
    frame_restorer = load_restorer(save_network(tmp_path / "two.pth", build_compact(2)), CPU)
    frame_restorer._run = lambda images: torch.zeros(*images.shape[:2], *(2 * side for side in images.shape[2:]))
    items = [FrameItem(0, portrait.copy(), [FaceTarget((0, 0, 9, 9), POINTS)])]
    (item,) = Enhancer(face_restorer, frame_restorer, 1.0, True)(items)
    inside = item.frame[170:270, 200:300].astype(int)
    expected = cv2.resize(portrait, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)[170:270, 200:300]
    assert np.abs(inside - expected).mean() < 3
    assert all(item.frame[rows, columns].max() == 0 for rows in (slice(9), slice(-9, None)) for columns in (0, -1))


def test_stream_with_face_and_background_enhancer(tmp_path, portrait):
    face, frame = (
        save_network(tmp_path / "face.pth", build_compact()),
        save_network(tmp_path / "frame.pth", build_compact(2)),
    )
    options = LipSyncOptions(box=(60, 180, 90, 200), enhancer=face, background_enhancer=frame, upscale=True)
    with scripted_lipsync([(90, 60, 200, 180)]).stream(portrait, (tone(0.08), 16_000), options) as stream:
        assert stream.size == (512, 512)
        assert len(list(stream)) == 2


def run_signed_network(run, images):
    """Run a network with a range of [-1, 1] on images."""
    with torch.inference_mode():
        out = run(torch.from_numpy(images).movedim(-1, 1).contiguous() / 127.5 - 1)
    return ((out.clamp(-1, 1) + 1) * 127.5).round().movedim(1, -1).numpy()


@pytest.mark.slow
def test_gfpgan_input_equals_reference_code(tmp_path):
    torch.manual_seed(0)
    network = GFPGAN(out_size=512, num_style_feat=512, channel_multiplier=2, decoder_load_path=None, fix_decoder=False,
                     num_mlp=8, input_is_latent=True, different_w=True, narrow=1, sft_half=True).eval()  # fmt: skip
    restored = load_restorer(save_network(tmp_path / "gfpgan.pth", network), CPU)(random_images(1, 512, 512))
    expected = run_signed_network(
        lambda batch: network(batch, return_rgb=False, randomize_noise=False)[0], random_images(1, 512, 512)
    )
    assert np.abs(restored - expected).max() <= 1


@pytest.mark.slow
def test_restoreformer_input_equals_reference_code(tmp_path):
    network = build_restoreformer()
    restore = load_restorer(save_network(tmp_path / "former.pth", network), CPU)
    expected = run_signed_network(lambda batch: network(batch)[0], random_images(1, 512, 512))
    assert np.abs(restore(random_images(1, 512, 512)) - expected).max() <= 1


@pytest.mark.slow
def test_load_restorer_rejects_inpainting(tmp_path):
    with pytest.raises(InputError, match="LaMa"):
        load_restorer(save_network(tmp_path / "lama.pth", LaMa()), CPU)
