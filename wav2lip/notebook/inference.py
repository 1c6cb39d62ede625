"""The steps of notebooks/inference_colab.ipynb."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wav2lip.errors import InputError
from wav2lip.media import is_picture, read_picture
from wav2lip.notebook import show
from wav2lip.notebook.drawing import frames_sheet, sheet, strip
from wav2lip.notebook.process import run
from wav2lip.notebook.workspace import Workspace, download, given, upload
from wav2lip.sample import Speaker, write_sample, write_speech

SAMPLE = "sample"
SAMPLE_SECONDS = 6
UNHEARD = 1000  # seed of the sample's voice
TRAINED = ("gan/best.pth", "generator/best.pth")  # below a project's folder


@dataclass(frozen=True)
class Inference:
    """A face, a sound and a checkpoint, each a path, or empty to be chosen in the browser, or "sample"."""

    place: Workspace

    def get_checkpoint(self, path: str) -> Path:
        """The generator: a file, what the training notebook made last in any project beside this one, or an upload."""
        if path:
            found = given(path, "CHECKPOINT")
        else:
            found = newest_trained(self.place.kept.parent) or upload(self.place.kept / "checkpoint", "checkpoint")
        show.words(f"Checkpoint: `{found}`")
        return found

    def get_face(self, path: str) -> Path:
        """A video or a picture; shows it."""
        if path == SAMPLE:
            found = write_sample(self.place.fast / "sample", 1, SAMPLE_SECONDS)[0]
        else:
            found = given(path, "FACE") if path else self._uploaded("face", "video or picture of a face")
        to = self.place.kept / "pictures" / "face.png"
        show.picture(sheet([read_picture(found)], to) if is_picture(found) else frames_sheet([found], to))
        return found

    def get_sound(self, path: str) -> Path:
        """Anything with sound."""
        if path == SAMPLE:
            found = self.place.fast / "sample" / "speech.wav"
            write_speech(found, SAMPLE_SECONDS, Speaker.from_seed(UNHEARD), UNHEARD)
        else:
            found = given(path, "SOUND") if path else self._uploaded("sound", "sound")
        show.sound(found)
        return found

    def _uploaded(self, folder: str, what: str) -> Path:
        """The newest upload; says which it is, as nobody is asked where there is one of before."""
        found = upload(self.place.kept / folder, what)
        show.words(f"The {what}: `{found}`. To be asked for another, remove it there or change `PROJECT`.")
        return found

    def make(
        self, checkpoint: Path, face: Path, sound: Path, options: Sequence[str] = (), to_computer: bool = True
    ) -> Path:
        """Put the words into the mouth; shows frames before and after, and the video. Returns: the video.

        options: flags of wav2lip.infer. to_computer: in Colab, send the video to the user's computer.
        """
        result = self.place.kept / "results" / f"{face.stem}_{sound.stem}.mp4"
        run("wav2lip.infer", "--checkpoint_path", checkpoint, "--face", face, "--audio", sound, "--outfile", result,
            *options)  # fmt: skip
        videos = [result] if is_picture(face) else [face, result]
        show.picture(strip(videos, self.place.kept / "pictures" / "strip.png"))
        show.video(result)
        if to_computer:
            download(result)
        return result


def newest_trained(projects: Path) -> Path | None:
    """The newest best checkpoint of a generator that the training notebook made; None if there is none."""
    found = [file for name in TRAINED for file in projects.glob(f"*/{name}")]
    return max(found, key=lambda file: file.stat().st_mtime, default=None)


def options_of(pad_bottom: int, faces: str, blend: str, silence: str, detector: str, more: str) -> list[str]:
    """The form's fields as flags of wav2lip.infer. more: further flags, in shell words."""
    if pad_bottom < 0:
        raise InputError(f"CHIN is {pad_bottom}; give pixels from 0 up")
    pads = ["--pads", "0", str(pad_bottom), "0", "0"]
    return [*pads, "--faces", faces, "--blend", blend, "--silence", silence, "--detector", detector, *shlex.split(more)]
