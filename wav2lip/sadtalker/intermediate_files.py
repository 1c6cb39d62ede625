"""Files of the stages before the renderer, as SadTalker's --verbose keeps them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from wav2lip.errors import InputError
from wav2lip.sadtalker.identity import Identity
from wav2lip.sadtalker.rendering import ClipMotion


def save_intermediate_files(folder: Path, identity: Identity, motion: ClipMotion) -> None:
    """Write the crop, its landmarks and coefficients, and the coefficients of the clip at 25 fps.

    Raises: InputError if the folder cannot be written.
    """
    first = folder / "first_frame_dir"
    try:
        first.mkdir(parents=True, exist_ok=True)
        Image.fromarray(identity.image).save(first / "photo.png")
        np.savetxt(first / "photo_landmarks.txt", identity.landmarks, fmt="%.3f")
        savemat(first / "photo.mat", {"coeff_3dmm": identity.coefficients[None]})
        savemat(folder / "photo##audio.mat", {"coeff_3dmm": motion.coefficients})
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); choose another --result_dir") from error
