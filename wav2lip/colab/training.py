"""Steps of notebooks/train_colab.ipynb; each runs a command of the toolkit and displays its result."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wav2lip.audio.windows import FPS
from wav2lip.colab import display
from wav2lip.colab.archive import create_archive, extract_archive
from wav2lip.colab.contact_sheets import draw_comparison, draw_crop_sheet, draw_frame_sheet
from wav2lip.colab.process import run_command
from wav2lip.colab.training_log import read_training_log
from wav2lip.colab.workspace import Workspace, copy_files, resolve_path, upload_files
from wav2lip.dataset.clip import AUDIO, read_info
from wav2lip.dataset.filelist import read_filelist
from wav2lip.dataset.input_folder import scan_folder
from wav2lip.demo.commands import path_override
from wav2lip.demo.report import draw_losses
from wav2lip.demo.training import (
    EXPERT_OVERRIDES,
    EXPERT_STEPS,
    GENERATOR_OVERRIDES,
    GENERATOR_STEPS,
    THIN_NETWORK_OVERRIDES,
)
from wav2lip.errors import InputError
from wav2lip.media import VideoWriter, read_frames
from wav2lip.synthetic import Speaker, write_speech, write_videos

SAMPLE, UPLOAD = "sample", "upload"
MAX_RESULT_SECONDS = 8.0
MAX_EVALUATED_CLIPS = 20
UNSEEN_VOICE_SEED = 1000  # a voice that is in no sample video


@dataclass(frozen=True)
class Plan:
    """Sizes of the networks and numbers of steps."""

    expert_steps: int
    generator_steps: int
    overrides: tuple[str, ...] = ()  # KEY=VALUE of both trainers
    expert_overrides: tuple[str, ...] = ()
    generator_overrides: tuple[str, ...] = ()
    sample_videos: int = 32
    sample_seconds: float = 7


PLANS = {
    "quick": Plan(  # the settings of the demo, which learn in minutes
        expert_steps=EXPERT_STEPS,
        generator_steps=GENERATOR_STEPS,
        overrides=THIN_NETWORK_OVERRIDES,
        expert_overrides=EXPERT_OVERRIDES,
        generator_overrides=GENERATOR_OVERRIDES,
    ),
    "full": Plan(expert_steps=20_000, generator_steps=30_000),
}


def build_plan(name: str, expert_steps: int = 0, generator_steps: int = 0, extra: str = "") -> Plan:
    """Return a named plan with the given numbers of steps unless 0, and `extra` overrides in shell syntax."""
    if name not in PLANS:
        raise InputError(f"PLAN={name!r}: must be one of {', '.join(PLANS)}")
    plan = PLANS[name]
    return replace(
        plan,
        expert_steps=expert_steps or plan.expert_steps,
        generator_steps=generator_steps or plan.generator_steps,
        overrides=(*plan.overrides, *shlex.split(extra)),
    )


@dataclass(frozen=True)
class TrainingNotebook:
    """Steps of the notebook; each can be run again and resumes where it stopped."""

    workspace: Workspace
    plan: Plan
    detector: str = "auto"

    @property
    def videos(self) -> Path:
        """Folder of the videos on the local disk."""
        return self.workspace.scratch / "videos"

    @property
    def data(self) -> Path:
        """Folder of the data set."""
        return self.workspace.scratch / "data"

    @property
    def expert(self) -> Path:
        """Checkpoint folder of the expert."""
        return self.workspace.persistent / "expert"

    @property
    def images(self) -> Path:
        """Folder of the displayed images."""
        return self.workspace.persistent / "images"

    def load_videos(self, source: str) -> None:
        """Copy videos from uploads or a folder, or generate some; display a frame of each.

        source: "upload", "sample" or a folder.
        """
        if source == SAMPLE:
            self._generate_sample()
        else:
            folder = self.workspace.persistent / "videos"
            if source == UPLOAD:
                upload_files(folder, "video")
            else:
                folder = resolve_path(source, "VIDEOS")
            copy_files(scan_folder(folder).files, folder, self.videos)
        files = self._list_videos()
        display.show_text(f"{len(files)} files, including:")
        display.show_image(draw_frame_sheet(files, self.images / "videos.png"))

    def run_doctor(self, minutes: float = 10) -> None:
        """Check whether the data is worth training on; display the verdict and the report."""
        out = self.workspace.scratch / "doctor"
        flags = ["--out", str(out), "--minutes", str(minutes), "--detector", self.detector]
        code = run_command("preprocess.doctor", self.videos, *flags, ok_codes=(0, 1))
        unfit = "**NOT YET**: the output above gives the reasons. You can continue anyway."
        display.show_text(unfit if code else "**FIT**: the output above says for what.")
        display.show_report(out / "report.html")
        display.show_image(draw_crop_sheet(out, self.images / "doctor.png"))

    def preprocess(self) -> None:
        """Cut the videos into clips of one face; display crops and the report."""
        archive = self.workspace.persistent / "data.tar"
        if self.workspace.scratch_is_temporary and extract_archive(archive, self.data):
            display.show_text("Restored the data set of the last session.")
        before = self._read_description()
        run_command("preprocess", path_override("videos", self.videos), path_override("out", self.data), "test=0",
                    f"detector={self.detector}")  # fmt: skip
        if self.workspace.scratch_is_temporary and self._read_description() != before:
            create_archive(self.data, archive)
        display.show_report(self.data / "report.html")
        display.show_image(draw_crop_sheet(self.data, self.images / "crops.png"))

    def train_expert(self, checkpoint: str = "") -> Path:
        """Train the lip-sync expert, or use an existing checkpoint; display curves and diagnosis.

        Returns: the checkpoint.
        """
        if checkpoint:
            display.show_text(f"Using the existing expert `{checkpoint}`")
            return resolve_path(checkpoint, "EXPERT")
        self._train("train.syncnet", self.expert, self.plan.expert_steps, self.plan.expert_overrides)
        return find_best_checkpoint(self.expert)

    def train_generator(self, expert: Path, gan: bool, start: str = "") -> Path:
        """Train the generator; display curves, diagnosis, and a strip and a video of validation frames.

        start: checkpoint to fine-tune instead of training from scratch. Returns: the checkpoint.
        """
        module, name = ("train.wav2lip_gan", "gan") if gan else ("train.wav2lip", "generator")
        overrides = [path_override("syncnet_checkpoint_path", expert), *self.plan.generator_overrides]
        if start:
            overrides += ["recipe=finetune", path_override("checkpoint_path", resolve_path(start, "GENERATOR"))]
            overrides += ["disc_warmup_steps=500"] if gan else []
        folder = self.workspace.persistent / name
        self._train(module, folder, self.plan.generator_steps, overrides)
        previews = sorted((folder / "previews").glob("*.mp4"))
        if previews:
            display.show_text("Ground truth, masked input and output of the generator:")
            display.show_video(previews[-1], 600)
        return find_best_checkpoint(folder)

    def lip_sync(self, generator: Path, face: str = "", audio: str = "") -> Path:
        """Lip-sync a face to audio, by default both from the validation set; display frames and the video."""
        val_face, val_audio = self._write_validation_inputs()
        face_file = resolve_path(face, "FACE") if face else val_face
        audio_file = resolve_path(audio, "AUDIO") if audio else val_audio
        result = self.workspace.persistent / "results" / "result.mp4"
        run_command("wav2lip.infer", "--checkpoint_path", generator, "--face", face_file, "--audio", audio_file,
                    "--outfile", result, "--detector", self.detector)  # fmt: skip
        if not face:
            display.show_text("Original above, lip-synced below:")
            display.show_image(draw_comparison([val_face, result], self.images / "strip.png"))
        display.show_video(result)
        return result

    def evaluate(self, generator: Path, expert: Path) -> None:
        """Evaluate the generator on validation clips beside the real videos; display the report."""
        out = self.workspace.persistent / "evaluation"
        audio = ["true", "shuffled"] if len(self._list_validation_clips()) > 1 else ["true"]
        run_command("wav2lip.evaluate", "checkpoint", "--checkpoint_path", generator, "--data_root", self.data,
                    "--out", out, "--expert", expert, "--detector", self.detector,
                    "--limit", str(MAX_EVALUATED_CLIPS), "--audio", *audio)  # fmt: skip
        display.show_report(out / "report.html", 640)

    def _generate_sample(self) -> None:
        plan = self.plan
        if len(self._list_videos()) < plan.sample_videos:
            display.show_text(f"Generating {plan.sample_videos} short videos of synthetic talking heads.")
            write_videos(self.videos, plan.sample_videos, plan.sample_seconds, videos_per_speaker=1)

    def _list_videos(self) -> list[Path]:
        return scan_folder(self.videos).files if self.videos.is_dir() else []

    def _read_description(self) -> bytes:
        file = self.data / "dataset.json"
        return file.read_bytes() if file.exists() else b""

    def _train(self, module: str, folder: Path, steps: int, overrides: Sequence[str]) -> None:
        """Train or resume, with a checkpoint and a validation every quarter, or every 1000 steps."""
        interval = max(1, min(1000, steps // 4))
        run_command(
            module, path_override("data_root", self.data), path_override("checkpoint_dir", folder),
            f"max_steps={steps}", "resume=true", "keep_last_n=2", f"eval_interval={interval}",
            f"checkpoint_interval={interval}", *overrides, *self.plan.overrides,
        )  # fmt: skip
        curves = self.images / f"{folder.name}_curves.png"
        draw_losses(curves, [folder])
        display.show_image(curves)
        log = read_training_log(folder, self.images)
        for image in (log.curve, log.strip):
            if image:
                display.show_image(image)
        if log.diagnosis:
            display.show_text("\n".join(f"- {sentence}" for sentence in log.diagnosis))

    def _list_validation_clips(self) -> list[Path]:
        return [self.data / clip for clip in read_filelist(self.data / "filelists" / "val.txt", self.data)]

    def _write_validation_inputs(self) -> tuple[Path, Path]:
        """Write a video of a validation clip; return it with audio that does not belong to it."""
        clips = self._list_validation_clips()
        info = read_info(clips[0])
        assert info is not None  # preprocessing writes one for every clip
        face = self.workspace.scratch / "validation_face.mp4"
        first = round(info["start"] * FPS)
        last = first + min(info["frames"], round(MAX_RESULT_SECONDS * FPS))
        with VideoWriter(face, FPS) as writer:
            for frame in read_frames(self.videos / info["source"], FPS, first=first, last=last):
                writer.write(frame)
        if len(clips) > 1:
            return face, clips[-1] / AUDIO
        speech = self.workspace.scratch / "unseen_speech.wav"
        write_speech(speech, MAX_RESULT_SECONDS, Speaker.from_seed(UNSEEN_VOICE_SEED), UNSEEN_VOICE_SEED)
        return face, speech


def find_best_checkpoint(folder: Path) -> Path:
    """Return the best checkpoint of a folder, or the last one before the first validation."""
    return next(file for file in (folder / "best.pth", folder / "last.pth") if file.exists())
