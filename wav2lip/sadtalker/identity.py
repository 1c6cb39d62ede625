"""Identity: everything that the engine computes from a photo, reusable for any number of speeches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from wav2lip.engine.prepared.file import PreparedFile, read_prepared, write_prepared
from wav2lip.errors import InputError
from wav2lip.faces.boxes import move_box
from wav2lip.faces.landmark_alignment import TEMPLATE, TEMPLATE_BOX, fit_similarity
from wav2lip.sadtalker.networks import ANGLES, EXPRESSION, TRANSLATION, HeadNetworks
from wav2lip.sadtalker.source.alignment import align_head, fit_head
from wav2lip.sadtalker.source.cropping import MODES, Region, choose_region
from wav2lip.sadtalker.source.landmarks import five_points
from wav2lip.sadtalker.source.portrait import Portrait
from wav2lip.types import PathType

ENGINE = "sadtalker"


@dataclass(frozen=True)
class Identity:
    """A photo, prepared for the renderer. S: pixels of the renderer."""

    photo: np.ndarray  # (H, W, 3) uint8 RGB
    region: Region  # part of the photo that moves
    image: np.ndarray  # (S, S, 3) uint8 RGB: the region
    landmarks: np.ndarray  # (5, 2) float32: eyes, nose tip, mouth corners in pixels of the image
    box: tuple[float, float, float, float]  # face in pixels of the image: left, top, right, bottom
    coefficients: np.ndarray  # (73,) float32: expression, head pose, and scale and position in the image
    keypoints: np.ndarray  # (15, 3) float32: canonical keypoints
    features: np.ndarray  # (32, 16, S / 4, S / 4) float32: see `Renderer.source_features`
    mode: str  # crop mode
    checkpoint: str  # hash of the networks' file
    note: str = field(default="", compare=False)  # license and consent

    def save(self, path: PathType) -> None:
        """Write a file that `load` reads. Raises: InputError if it cannot be written."""
        names = "photo", "image", "landmarks", "coefficients", "keypoints", "features"
        settings: dict[str, Any] = {
            "mode": self.mode, "region": self.region.box, "aspect_size": self.region.aspect_size, "box": self.box,
            "checkpoint": self.checkpoint,
        }  # fmt: skip
        arrays = {name: getattr(self, name) for name in names}
        write_prepared(path, PreparedFile(ENGINE, arrays, settings, self.note))

    @classmethod
    def load(cls, path: PathType) -> Identity:
        """Read a file of `save`. Raises: InputError if it is damaged."""
        face = read_prepared(path, ENGINE)
        settings = face.settings
        try:
            region = Region(tuple(settings["region"]), tuple(settings["aspect_size"]))
            identity = cls(
                region=region, box=tuple(settings["box"]), mode=settings["mode"], checkpoint=settings["checkpoint"],
                note=face.note, **{name: np.array(values) for name, values in face.arrays.items()},
            )  # fmt: skip
        except (KeyError, TypeError) as error:
            raise InputError(f"{path}: is damaged ({error}); prepare it again") from error
        if identity.mode not in MODES:
            raise InputError(f"{path}: has the unknown mode {identity.mode}; prepare it again")
        return identity


@dataclass(frozen=True)
class CutFace:
    """The moving part of a photo as the networks see it."""

    photo: np.ndarray  # (H, W, 3) uint8 RGB
    region: Region
    image: np.ndarray  # (S, S, 3) uint8 RGB: the region
    landmarks: np.ndarray  # (68, 2) or (5, 2) float32 in pixels of the image
    box: tuple[float, float, float, float]  # face in pixels of the image


def cut_face(portrait: Portrait, mode: str, side: int, compat: str = "none") -> CutFace:
    """Cut the region of a crop mode out of a photo. side: S."""
    photo, region = choose_region(mode, portrait.photo, portrait.landmarks, compat)
    scale = np.array(photo.shape[1::-1]) / portrait.photo.shape[1::-1]
    landmarks = region.to_region(portrait.landmarks * scale, side).astype(np.float32)
    if portrait.box is None:
        transform = fit_similarity(TEMPLATE, five_points(landmarks).astype(np.float64))
        box = move_box(np.array(TEMPLATE_BOX), transform)
    else:
        box = region.to_region(np.array(portrait.box).reshape(2, 2) * scale, side).ravel()
    left, top, right, bottom = box.tolist()
    return CutFace(photo, region, region.cut(photo, side), landmarks, (left, top, right, bottom))


def frame_mouth(identity: Identity, find_box: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Identity:
    """Replace the face box by that of another detector. find_box: see `wav2lip.sadtalker.pipeline.MouthStage`."""
    side, region = len(identity.image), identity.region
    box = find_box(identity.photo, region.to_photo(np.array(identity.box).reshape(2, 2), side).ravel())
    left, top, right, bottom = region.to_region(box.reshape(2, 2), side).ravel().tolist()
    return replace(identity, box=(left, top, right, bottom))


def photo_coefficients(networks: HeadNetworks, image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Return the coefficients (73,) float32 of the face in an image (S, S, 3) uint8 RGB with landmarks (N, 2)."""
    transform = fit_head(landmarks, image.shape[1], image.shape[0])
    (values,) = networks.coefficients(align_head(image, transform)[None])
    parts = values[EXPRESSION], values[ANGLES], values[TRANSLATION], transform.params[2:]
    return np.concatenate(parts).astype(np.float32)


def build_identity(
    face: CutFace, mode: str, networks: HeadNetworks, source_features: Callable[[np.ndarray], np.ndarray],
    checkpoint: str, note: str = "",
) -> Identity:  # fmt: skip
    """Run the networks that depend on the photo only. source_features: see `Renderer`."""
    return Identity(
        face.photo, face.region, face.image, five_points(face.landmarks).astype(np.float32), face.box,
        photo_coefficients(networks, face.image, face.landmarks), networks.canonical_keypoints(face.image),
        source_features(face.image), mode, checkpoint, note,
    )  # fmt: skip
