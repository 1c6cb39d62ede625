"""Restoration networks of the real architectures, small and with random weights, do their work on faces and frames."""

import pickle

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from spandrel.architectures.Compact import Compact
from spandrel.architectures.ESRGAN import ESRGAN
from spandrel.architectures.GFPGAN import GFPGAN
from spandrel.architectures.LaMa import LaMa
from spandrel.architectures.RestoreFormer import RestoreFormer

from models import Wav2Lip
from tests.conftest import tone
from tests.wav2lip.lipsync.test_library import lipsync
from wav2lip.errors import InputError
from wav2lip.lipsync import Options
from wav2lip.lipsync.aligning import TEMPLATE, alignment, cut_aligned, paste_aligned, similarity
from wav2lip.lipsync.enhancing import enhance
from wav2lip.lipsync.restorers import load_restorer
from wav2lip.lipsync.shown import Shown, Target

CPU = torch.device("cpu")
POINTS = np.array([[100, 90], [150, 80], [130, 110], [112, 140], [150, 132]], np.float32)


def compact(scale=1, channels=3):
    """Real-ESRGAN's small form."""
    torch.manual_seed(0)
    return Compact(num_in_ch=channels, num_out_ch=channels, num_feat=8, num_conv=2, upscale=scale).eval()


def esrgan():
    """Real-ESRGAN's large form, with one block of the 23."""
    torch.manual_seed(0)
    return ESRGAN(num_filters=8, num_blocks=1, scale=2).eval()


def restore_former():
    torch.manual_seed(0)
    return RestoreFormer(n_embed=16, embed_dim=32, ch=32, ch_mult=(1,) * 6, num_res_blocks=1, z_channels=32).eval()


def saved(path, network, wrap=lambda weights: {"params_ema": weights}):
    """A file as the networks' authors publish them."""
    torch.save(wrap(network.state_dict()), path)
    return path


@torch.inference_mode()
def plain(network, pictures):
    """What a network makes of whole pictures, (N, H, W, 3) uint8."""
    out = network(torch.from_numpy(pictures.copy()).movedim(-1, 1) / 255)
    return (out.clamp(0, 1) * 255).round().byte().movedim(1, -1).numpy()


def noise(*shape):
    return np.random.default_rng(3).integers(0, 256, (*shape, 3), np.uint8)


@pytest.mark.parametrize(("network", "scale"), [(compact(1), 1), (compact(4), 4), (esrgan(), 2)],
                         ids=["compact", "compact x4", "esrgan x2"])  # fmt: skip
def test_tiles_join_to_what_the_network_makes_of_the_whole_picture(tmp_path, network, scale, monkeypatch):
    monkeypatch.setattr("wav2lip.lipsync.restorers.TILE", 48)
    monkeypatch.setattr("wav2lip.lipsync.restorers.MARGIN", 40)  # ESRGAN looks further than Compact
    restore, pictures = load_restorer(saved(tmp_path / "net.pth", network), CPU), noise(2, 70, 101)
    made = restore(pictures)
    assert made.shape == (2, 70 * scale, 101 * scale, 3)
    np.testing.assert_allclose(made.astype(int), plain(network, pictures), atol=1)
    np.testing.assert_array_equal(np.concatenate([restore(pictures[:1]), restore(pictures[1:])]), made)


def test_out_of_memory_halves_the_batch_and_restores_every_picture_all_the_same(tmp_path, monkeypatch, caplog):
    restore, pictures = load_restorer(saved(tmp_path / "net.pth", compact(2)), CPU), noise(5, 24, 32)
    expected, run, shown = restore(pictures), restore._run, []

    def small(some):
        shown.append(len(some))
        if len(some) > 2:
            raise torch.OutOfMemoryError("full")
        return run(some)

    monkeypatch.setattr(restore, "_run", small)
    restore.portions.size = 4
    assert np.abs(restore(pictures).astype(int) - expected).max() <= 1
    assert shown == [4, 2, 2, 1]
    assert "going on with 2 pictures at a time" in caplog.text


@pytest.mark.parametrize("wrap", [
    lambda weights: weights, lambda weights: {"params": weights},
    lambda weights: {"state_dict": {f"module.{key}": value for key, value in weights.items()}, "epoch": 3},
], ids=["bare", "params", "state_dict of several GPUs"])  # fmt: skip
def test_weights_are_found_however_trainers_wrap_them(tmp_path, wrap):
    network, pictures = compact(2), noise(1, 20, 20)
    restore = load_restorer(saved(tmp_path / "net.pth", network, wrap), CPU)
    np.testing.assert_allclose(restore(pictures).astype(int), plain(network, pictures), atol=1)


def test_safetensors_are_read(tmp_path):
    network, pictures = compact(2), noise(1, 20, 20)
    save_file(network.state_dict(), tmp_path / "net.safetensors")
    made = load_restorer(tmp_path / "net.safetensors", CPU)(pictures)
    np.testing.assert_allclose(made.astype(int), plain(network, pictures), atol=1)


class Opened:
    """Leaves a mark where a file of it is opened without care."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (open, (str(self.mark), "w"))


def test_files_that_are_no_restoration_network_are_refused_in_a_sentence_and_never_run(tmp_path):
    cases = {
        "generator.pth": (lambda path: saved(path, Wav2Lip(width=0.0625)), "holds a Wav2Lip generator, not one that"),
        "grey.pth": (lambda path: saved(path, compact(channels=1)), "from 1 to 1 channels; give one for colour"),
        "trap.pth": (lambda path: path.write_bytes(pickle.dumps(Opened(tmp_path / "mark"))), "holds more than weights"),
        "text.pth": (lambda path: path.write_text("no weights"), "text.pth: "),
        "text.safetensors": (lambda path: path.write_text("no weights"), "not a whole safetensors file"),
        "numbers.pth": (lambda path: torch.save({"params": {"a": 1}}, path), "has no weights of a network"),
        "list.pth": (lambda path: torch.save([1], path), "has no weights of a network"),
        "other.pth": (lambda path: saved(path, torch.nn.Linear(2, 2)), "holds some other network, not one that"),
        "cut.pth": (lambda path: torch.save(without_a_layer(compact()), path), "has other layers than its kind"),
        "absent.pth": (lambda path: None, "absent.pth: no such"),
    }
    for name, (write, sentence) in cases.items():
        write(tmp_path / name)
        with pytest.raises(InputError, match=sentence) as raised:
            load_restorer(tmp_path / name, CPU)
        assert str(raised.value).startswith(str(tmp_path / name))
        assert "\n" not in str(raised.value)
    assert not (tmp_path / "mark").exists()


def without_a_layer(network):
    weights = dict(network.state_dict())
    del weights["body.2.weight"]
    return weights


def test_a_network_for_faces_is_refused_for_frames_and_an_upscale_without_a_network(tmp_path, portrait):
    path = saved(tmp_path / "face.pth", restore_former())
    with pytest.raises(InputError, match=r"face\.pth: restores faces alone; give it as --enhancer"):
        lipsync().stream(portrait, (tone(0.1), 16_000), Options(background_enhancer=path))
    with pytest.raises(InputError, match="--upscale needs a network"):
        Options(upscale=True)
    with pytest.raises(InputError, match="--enhancer_strength is 1.5"):
        Options(enhancer_strength=1.5)
    with pytest.raises(InputError, match="--enhancer_strength needs an --enhancer or a --background_enhancer"):
        Options(enhancer_strength=0.5)


def test_a_restorer_whose_file_was_written_anew_is_read_anew(tmp_path, portrait):
    ours, shown = lipsync(), []
    for scale in (2, 4):
        path = saved(tmp_path / "net.pth", compact(scale))
        with ours.stream(portrait, (tone(0.1), 16_000), Options(background_enhancer=path, upscale=True)) as made:
            shown.append(made.size)
    assert shown == [(512, 512), (1024, 1024)]


def test_an_aligned_face_has_its_landmarks_where_the_networks_were_shown_them():
    turn = np.array([[0.8, -0.3], [0.3, 0.8]])
    there = (TEMPLATE - 40) @ turn.T
    matrix = alignment(Target((0, 0, 9, 9), there.astype(np.float32)))
    np.testing.assert_allclose(there @ matrix[:, :2].T + matrix[:, 2], TEMPLATE, atol=1e-3)
    ours, theirs = similarity(POINTS.astype(float), TEMPLATE), cv2.estimateAffinePartial2D(POINTS, TEMPLATE)[0]

    def error(m):
        return (((POINTS @ m[:, :2].T + m[:, 2]) - TEMPLATE) ** 2).sum()

    assert error(ours) <= error(theirs) + 1e-6
    np.testing.assert_allclose(ours, theirs, rtol=0.2, atol=12)  # that one is robust instead of least squares


def test_a_face_goes_back_to_where_it_was_cut(portrait):
    frame = cv2.GaussianBlur(portrait, (0, 0), 1.5)
    matrix = alignment(Target((0, 0, 9, 9), POINTS))
    face, made = cut_aligned(frame, matrix), frame.copy()
    paste_aligned(made, face, matrix, 1.0)
    assert np.abs(made.astype(int) - frame).max() <= 6
    assert np.abs(made.astype(int) - frame).mean() < 0.5


@pytest.mark.parametrize("landmarks", [POINTS, None], ids=["landmarks", "box alone"])
def test_strength_says_how_much_of_the_face_is_restored_and_nothing_else_changes(tmp_path, portrait, landmarks):
    restore = load_restorer(saved(tmp_path / "net.pth", compact()), CPU)
    frame = np.pad(portrait, ((0, 200), (0, 300), (0, 0)), mode="reflect")
    target = Target((90, 60, 160, 150), landmarks)

    def made(strength, targets=(target,)):
        (one,) = enhance([Shown(0, frame.copy(), targets)], restore, None, strength, False)
        return one.frame.astype(int)

    np.testing.assert_array_equal(made(0.0), frame)
    np.testing.assert_array_equal(made(1.0, ()), frame)
    change = np.abs(made(1.0) - frame).max(axis=2)
    corners = np.array([[0, 0], [512, 0], [512, 512], [0, 512]]) - alignment(target)[:, 2]
    corners = corners @ np.linalg.inv(alignment(target)[:, :2]).T
    square = cv2.fillConvexPoly(np.zeros(change.shape, np.uint8), np.rint(corners).astype(np.int32), 1)
    assert change[cv2.dilate(square, np.ones((5, 5))) == 0].max() == 0
    assert change[100:130, 110:140].mean() > 10
    half = made(0.5)
    np.testing.assert_allclose(half, (made(1.0) + frame) / 2, atol=1)


def test_several_faces_and_frames_are_restored_as_each_would_be_alone(tmp_path):
    restore = load_restorer(saved(tmp_path / "net.pth", compact(2)), CPU)
    frames = noise(3, 200, 420)
    left, right = Target((20, 40, 90, 120)), Target((300, 40, 370, 120))

    def made(targets):
        return [one.frame for one in enhance(
            [Shown(n, frame.copy(), targets) for n, frame in enumerate(frames)], restore, None, 1.0, False
        )]  # fmt: skip

    for both, one, other in zip(made([left, right]), made([left]), made([right]), strict=True):
        np.testing.assert_array_equal(both[:, :200], one[:, :200])
        np.testing.assert_array_equal(both[:, 220:], other[:, 220:])


@pytest.mark.parametrize("upscale", [False, True])
def test_whole_frames_keep_their_size_unless_upscaling_is_asked_for(tmp_path, upscale):
    network, frame = compact(2), cv2.GaussianBlur(noise(60, 90), (0, 0), 2)
    restore = load_restorer(saved(tmp_path / "net.pth", network), CPU)
    target = Target((10, 20, 40, 50), POINTS)
    (one,) = enhance([Shown(0, frame.copy(), [target])], None, restore, 1.0, upscale)
    large = plain(network, frame[None])[0]
    expected = large if upscale else large.reshape(60, 2, 90, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(one.frame, expected, atol=1.5)
    assert one.targets[0].box == ((20, 40, 80, 100) if upscale else target.box)


def test_a_face_is_put_into_the_enlarged_frame_where_it_is(tmp_path, portrait):
    of_faces = load_restorer(saved(tmp_path / "one.pth", compact()), CPU)
    of_faces._run = lambda pictures: pictures  # as if it had nothing to restore
    of_frames = load_restorer(saved(tmp_path / "two.pth", compact(2)), CPU)
    of_frames._run = lambda pictures: torch.zeros(*pictures.shape[:2], *(2 * side for side in pictures.shape[2:]))
    (one,) = enhance([Shown(0, portrait.copy(), [Target((0, 0, 9, 9), POINTS)])], of_faces, of_frames, 1.0, True)
    inside = one.frame[170:270, 200:300].astype(int)
    expected = cv2.resize(portrait, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)[170:270, 200:300]
    assert np.abs(inside - expected).mean() < 3
    assert all(one.frame[rows, columns].max() == 0 for rows in (slice(9), slice(-9, None)) for columns in (0, -1))


def test_a_result_is_restored_face_by_face_and_enlarged(tmp_path, portrait):
    face, frame = saved(tmp_path / "face.pth", compact()), saved(tmp_path / "frame.pth", compact(2))
    options = Options(box=(60, 180, 90, 200), enhancer=face, background_enhancer=frame, upscale=True)
    with lipsync().stream(portrait, (tone(0.08), 16_000), options) as made:
        assert made.size == (512, 512)
        assert len(list(made)) == 2


def signed(run, pictures):
    """What a network that works in [-1, 1] makes of pictures."""
    with torch.inference_mode():
        out = run(torch.from_numpy(pictures).movedim(-1, 1).contiguous() / 127.5 - 1)
    return ((out.clamp(-1, 1) + 1) * 127.5).round().movedim(1, -1).numpy()


@pytest.mark.slow
def test_gfpgan_is_shown_what_its_authors_say_with_the_noise_of_its_file(tmp_path):
    torch.manual_seed(0)
    network = GFPGAN(out_size=512, num_style_feat=512, channel_multiplier=2, decoder_load_path=None, fix_decoder=False,
                     num_mlp=8, input_is_latent=True, different_w=True, narrow=1, sft_half=True).eval()  # fmt: skip
    made = load_restorer(saved(tmp_path / "gfpgan.pth", network), CPU)(noise(1, 512, 512))
    expected = signed(lambda shown: network(shown, return_rgb=False, randomize_noise=False)[0], noise(1, 512, 512))
    assert np.abs(made - expected).max() <= 1


@pytest.mark.slow
def test_restoreformer_is_shown_what_its_authors_say(tmp_path):
    network = restore_former()
    restore = load_restorer(saved(tmp_path / "former.pth", network), CPU)
    expected = signed(lambda shown: network(shown)[0], noise(1, 512, 512))
    assert np.abs(restore(noise(1, 512, 512)) - expected).max() <= 1


@pytest.mark.slow
def test_a_network_that_fills_holes_is_refused(tmp_path):
    with pytest.raises(InputError, match="is a LaMa, which fills holes in pictures"):
        load_restorer(saved(tmp_path / "lama.pth", LaMa()), CPU)
