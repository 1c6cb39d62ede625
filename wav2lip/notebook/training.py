"""The steps of notebooks/train_colab.ipynb: each runs a command of the toolkit and shows what came of it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wav2lip.clips import AUDIO, read_filelist, read_info
from wav2lip.demo import THIN
from wav2lip.demo_page import draw_losses
from wav2lip.errors import InputError
from wav2lip.media import VideoWriter, read_frames
from wav2lip.notebook import show
from wav2lip.notebook.archive import bring_back, keep
from wav2lip.notebook.drawing import crops_sheet, frames_sheet, logged, strip
from wav2lip.notebook.process import run, setting
from wav2lip.notebook.workspace import Workspace, bring, given, upload
from wav2lip.sample import Speaker, write_sample, write_speech
from wav2lip.windows import FPS

SAMPLE, UPLOAD = "sample", "upload"
RESULT_SECONDS = 8.0  # of the result, at most
JUDGED_CLIPS = 20  # in the evaluation, at most
UNHEARD = 1000  # seed of a voice that is in no sample


@dataclass(frozen=True)
class Plan:
    """How large the networks are and how long they learn."""

    expert_steps: int
    generator_steps: int
    keys: tuple[str, ...] = ()  # KEY=VALUE for both trainers
    expert_keys: tuple[str, ...] = ()
    generator_keys: tuple[str, ...] = ()
    sample_clips: int = 20
    sample_seconds: float = 7


PLANS = {
    "first look": Plan(  # as the demo: what learns in minutes
        expert_steps=360,
        generator_steps=440,
        keys=tuple(THIN),
        expert_keys=("batch_size=32", "eval_windows=256"),
        generator_keys=("batch_size=8", "eval_windows=64", "syncnet_wt=0.03"),
    ),
    "own model": Plan(expert_steps=20_000, generator_steps=30_000),
}


def plan_of(name: str, expert_steps: int = 0, generator_steps: int = 0, more: str = "") -> Plan:
    """A plan by its name, with other numbers of steps where they are not 0, and more KEY=VALUE in shell words."""
    if name not in PLANS:
        raise InputError(f"PLAN is {name!r}; choose one of {', '.join(PLANS)}")
    plan = PLANS[name]
    return replace(
        plan,
        expert_steps=expert_steps or plan.expert_steps,
        generator_steps=generator_steps or plan.generator_steps,
        keys=(*plan.keys, *shlex.split(more)),
    )


@dataclass(frozen=True)
class Training:
    """From videos to a generator, step by step; every step may be run again and does what is left to do."""

    place: Workspace
    plan: Plan
    detector: str = "auto"

    @property
    def videos(self) -> Path:
        """The videos on this machine's own disk."""
        return self.place.fast / "videos"

    @property
    def data(self) -> Path:
        """The data set."""
        return self.place.fast / "data"

    @property
    def expert(self) -> Path:
        """The expert's checkpoint folder."""
        return self.place.kept / "expert"

    @property
    def pictures(self) -> Path:
        """What was shown."""
        return self.place.kept / "pictures"

    def get_videos(self, source: str) -> None:
        """Take videos from the user's computer, from a folder, or make some; shows a frame of each.

        source: "upload", a folder, or "sample".
        """
        if source == SAMPLE:
            self._make_sample()
        else:
            folder = self.place.kept / "videos"
            if source == UPLOAD:
                upload(folder, "video")
            else:
                folder = given(source, "VIDEOS")
            bring([file for file in sorted(folder.rglob("*")) if file.is_file()], folder, self.videos)
        found = self._found_videos()
        show.words(f"{len(found)} files, among them:")
        show.picture(frames_sheet(found, self.pictures / "videos.png"))

    def ask_doctor(self, minutes: float = 10) -> None:
        """Is this data worth training on? Shows the verdict and the report."""
        out = self.place.fast / "doctor"
        words = ["--out", out, "--minutes", minutes, "--detector", self.detector]
        code = run("preprocess.doctor", self.videos, *map(str, words), fine=(0, 1))
        not_yet = "**NOT YET**: the lines above say why. You may go on all the same."
        show.words(not_yet if code else "**FIT to train on.**")
        show.page(out / "report.html")
        show.picture(crops_sheet(out, self.pictures / "doctor.png"))

    def preprocess(self) -> None:
        """Cut the videos into clips of one face; shows crops and the report."""
        archive = self.place.kept / "data.tar"
        if self.place.apart and bring_back(archive, self.data):
            show.words("The data set of last time was brought back.")
        before = self._described()
        paths = [setting("videos", self.videos), setting("out", self.data)]
        run("preprocess", *paths, "test=0", f"detector={self.detector}")
        if self.place.apart and self._described() != before:
            keep(self.data, archive)
        show.page(self.data / "report.html")
        show.picture(crops_sheet(self.data, self.pictures / "crops.png"))

    def train_expert(self, ready: str = "") -> Path:
        """Train the judge of lip sync, or take a checkpoint that is ready; shows curves and verdict. Returns: it."""
        if ready:
            show.words(f"Taken as it is: `{ready}`")
            return given(ready, "EXPERT")
        plan = self.plan
        self._train("train.syncnet", self.expert, plan.expert_steps, plan.expert_keys)
        return best(self.expert)

    def train_generator(self, expert: Path, gan: bool, start: str = "") -> Path:
        """Train what paints mouths; shows curves, verdict, a strip and a video of held-out frames. Returns: it.

        start: checkpoint to fine-tune instead of beginning from nothing.
        """
        module, folder = ("train.wav2lip_gan", "gan") if gan else ("train.wav2lip", "generator")
        keys = [setting("syncnet_checkpoint_path", expert), *self.plan.generator_keys]
        if start:
            keys += ["recipe=finetune", setting("checkpoint_path", given(start, "GENERATOR"))]
            keys += ["disc_warmup=500"] if gan else []
        made = self.place.kept / folder
        self._train(module, made, self.plan.generator_steps, keys)
        previews = sorted((made / "previews").glob("*.mp4"))
        if previews:
            show.words("Truth, what the generator is shown, and what it makes of it:")
            show.video(previews[-1], 600)
        return best(made)

    def try_out(self, generator: Path, face: str = "", sound: str = "") -> Path:
        """Put new words into a mouth, by default held-out ones; shows frames before and after, and the video."""
        own_face, own_sound = self._held_out()
        face_file = given(face, "FACE") if face else own_face
        sound_file = given(sound, "SOUND") if sound else own_sound
        result = self.place.kept / "results" / "result.mp4"
        run("wav2lip.infer", "--checkpoint_path", generator, "--face", face_file, "--audio", sound_file,
            "--outfile", result, "--detector", self.detector)  # fmt: skip
        if not face:
            show.words("Untouched above, new lips below:")
            show.picture(strip([own_face, result], self.pictures / "strip.png"))
        show.video(result)
        return result

    def evaluate(self, generator: Path, expert: Path) -> None:
        """Score the generator on held-out clips beside the real videos; shows tables, curves and faces."""
        out = self.place.kept / "evaluation"
        sounds = ["true", "shuffled"] if len(self._val_clips()) > 1 else ["true"]
        run("wav2lip.evaluate", "checkpoint", "--checkpoint_path", generator, "--data_root", self.data,
            "--out", out, "--expert", expert, "--detector", self.detector,
            "--limit", str(JUDGED_CLIPS), "--sound", *sounds)  # fmt: skip
        show.page(out / "report.html", 640)

    def _make_sample(self) -> None:
        plan = self.plan
        if len(self._found_videos()) < plan.sample_clips:
            show.words(f"Making {plan.sample_clips} short videos of talking heads.")
            write_sample(self.videos, plan.sample_clips, plan.sample_seconds)

    def _found_videos(self) -> list[Path]:
        return sorted(path for path in self.videos.rglob("*") if path.is_file())

    def _described(self) -> bytes:
        described = self.data / "dataset.json"
        return described.read_bytes() if described.exists() else b""

    def _train(self, module: str, folder: Path, steps: int, keys: Sequence[str]) -> None:
        """Train, or go on; saved and validated four times, or every 1000 steps."""
        interval = max(1, min(1000, steps // 4))
        run(module, setting("data_root", self.data), setting("checkpoint_dir", folder), f"max_steps={steps}",
            "resume=true", "keep=2", f"eval_interval={interval}", f"checkpoint_interval={interval}",
            f"judge_after={min(2000, steps)}", *keys, *self.plan.keys)  # fmt: skip
        curves = self.pictures / f"{folder.name}_curves.png"
        draw_losses(curves, [folder])
        show.picture(curves)
        told = logged(folder, self.pictures)
        for file in (told.curve, told.strip):
            if file:
                show.picture(file)
        if told.verdict:
            show.words("\n".join(f"- {sentence}" for sentence in told.verdict))

    def _val_clips(self) -> list[Path]:
        return [self.data / clip for clip in read_filelist(self.data / "filelists" / "val.txt", self.data)]

    def _held_out(self) -> tuple[Path, Path]:
        """A stretch of video that training never saw, and sound that does not belong to it."""
        clips = self._val_clips()
        info = read_info(clips[0])
        assert info is not None  # every clip of preprocessing has one
        face = self.place.fast / "held_out.mp4"
        first = round(info["start"] * FPS)
        last = first + min(info["frames"], round(RESULT_SECONDS * FPS))
        with VideoWriter(face, FPS) as video:
            for frame in read_frames(self.videos / info["source"], FPS, first=first, last=last):
                video.write(frame)
        if len(clips) > 1:
            return face, clips[-1] / AUDIO
        babble = self.place.fast / "babble.wav"
        write_speech(babble, RESULT_SECONDS, Speaker.from_seed(UNHEARD), UNHEARD)
        return face, babble


def best(folder: Path) -> Path:
    """The best checkpoint of a folder, or where nothing was scored yet the last."""
    return next(file for file in (folder / "best.pth", folder / "last.pth") if file.exists())
