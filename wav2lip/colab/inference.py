"""Steps of notebooks/inference_colab.ipynb."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wav2lip.colab import display
from wav2lip.colab.contact_sheets import draw_comparison, draw_frame_sheet, draw_sheet
from wav2lip.colab.process import run_command
from wav2lip.colab.workspace import Workspace, download_file, resolve_path, upload_files
from wav2lip.errors import InputError
from wav2lip.media import is_image, read_image
from wav2lip.synthetic import Speaker, write_speech, write_videos

SAMPLE = "sample"
SAMPLE_SECONDS = 6
SAMPLE_VOICE_SEED = 1000  # differs from the voice of the sample video
BEST_GENERATORS = ("gan/best.pth", "generator/best.pth")  # relative to the folder of a project


@dataclass(frozen=True)
class InferenceNotebook:
    """Steps of the notebook. A path from the form may be empty (use the newest upload) or "sample"."""

    workspace: Workspace

    def select_checkpoint(self, path: str) -> Path:
        """Return the generator: the given file, else the newest of the training notebook, else an upload."""
        if path:
            checkpoint = resolve_path(path, "CHECKPOINT")
        else:
            checkpoint = find_newest_generator(self.workspace.persistent.parent) or upload_files(
                self.workspace.persistent / "checkpoint", "checkpoint"
            )
        display.show_text(f"Checkpoint: `{checkpoint}`")
        return checkpoint

    def select_face(self, path: str) -> Path:
        """Return the face, a video or an image, and display it."""
        if path == SAMPLE:
            face = write_videos(self.workspace.scratch / "sample", 1, SAMPLE_SECONDS)[0]
        else:
            face = resolve_path(path, "FACE") if path else self._select_upload("face", "video or image of a face")
        sheet = self.workspace.persistent / "images" / "face.png"
        display.show_image(draw_sheet([read_image(face)], sheet) if is_image(face) else draw_frame_sheet([face], sheet))
        return face

    def select_audio(self, path: str) -> Path:
        """Return the audio, from an audio or video file, and display a player."""
        if path == SAMPLE:
            audio = self.workspace.scratch / "sample" / "speech.wav"
            write_speech(audio, SAMPLE_SECONDS, Speaker.from_seed(SAMPLE_VOICE_SEED), SAMPLE_VOICE_SEED)
        else:
            audio = resolve_path(path, "AUDIO") if path else self._select_upload("audio", "audio file")
        display.show_audio(audio)
        return audio

    def _select_upload(self, folder: str, kind: str) -> Path:
        """Return the newest upload and display its path, because an earlier upload is reused silently."""
        file = upload_files(self.workspace.persistent / folder, kind)
        display.show_text(f"The {kind}: `{file}`. To upload another, delete this one or change `PROJECT`.")
        return file

    def lip_sync(
        self, checkpoint: Path, face: Path, audio: Path, flags: Sequence[str] = (), download: bool = True
    ) -> Path:
        """Run inference; display frames before and after, and the video. Returns: the video.

        flags: of wav2lip.infer. download: in Colab, send the video to the user's computer.
        """
        result = self.workspace.persistent / "results" / f"{face.stem}_{audio.stem}.mp4"
        run_command("wav2lip.infer", "--checkpoint_path", checkpoint, "--face", face, "--audio", audio,
                    "--outfile", result, *flags)  # fmt: skip
        videos = [result] if is_image(face) else [face, result]
        display.show_image(draw_comparison(videos, self.workspace.persistent / "images" / "strip.png"))
        display.show_video(result)
        if download:
            download_file(result)
        return result


def find_newest_generator(projects: Path) -> Path | None:
    """Return the newest best generator of the training notebook in any project; None if there is none."""
    checkpoints = [file for name in BEST_GENERATORS for file in projects.glob(f"*/{name}")]
    return max(checkpoints, key=lambda file: file.stat().st_mtime, default=None)


def format_flags(pad_bottom: int | None, faces: str, blend: str, silence: str, detector: str, extra: str) -> list[str]:
    """Format the form's fields as flags of wav2lip.infer.

    pad_bottom: pixels below the face; None: as the checkpoint was trained. extra: further flags in shell syntax.
    """
    if pad_bottom is not None and pad_bottom < 0:
        raise InputError(f"PAD_BOTTOM={pad_bottom}: must be at least 0 pixels, or None")
    pads = ["auto"] if pad_bottom is None else ["0", str(pad_bottom), "0", "0"]
    flags = ["--pads", *pads, "--faces", faces, "--blend", blend, "--silence", silence]
    return [*flags, "--detector", detector, *shlex.split(extra)]
