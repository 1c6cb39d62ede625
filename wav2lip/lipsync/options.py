"""Options of the lip-sync engine."""

from __future__ import annotations

from dataclasses import dataclass, field

from wav2lip.engine.option_parsing import ClientLimits, spec
from wav2lip.engine.options import FaceOptions, InputOptions, OutputOptions
from wav2lip.errors import InputError


@dataclass(frozen=True, kw_only=True)
class LipSyncOptions(OutputOptions, FaceOptions, InputOptions):
    """Options of one request; the defaults are those of `python -m wav2lip.infer`."""

    fit: str = field(
        default="loop",
        metadata=spec(
            "audio longer than the video: restart the video, play it back and forth, hold its last frame, or end with "
            "it", parse=str, label="If the audio is longer than the video", client=ClientLimits(),
            choices={"loop": "Restart the video", "pingpong": "Play it back and forth",
                     "freeze": "Hold its last frame", "trim": "End with the video"},
        ),
    )  # fmt: skip
    short: str = field(
        default="trim",
        metadata=spec(
            "video longer than the audio: end with the audio, or keep the remaining frames unchanged",
            parse=str, label="If the video is longer than the audio", client=ClientLimits(),
            choices={"trim": "End with the audio", "keep": "Keep the rest unchanged"},
        ),
    )  # fmt: skip
    wav2lip_batch_size: int = field(
        default=128,
        metadata=spec(
            "frames per batch of the generator; at most 8 on a CPU, where larger batches are slower",
            parse=int, metavar="N",
        ),
    )  # fmt: skip
    blend: str = field(
        default="feather",
        metadata=spec(
            "feather: blend the lower face softly, in the colors of the frame; box: paste the whole box, as upstream "
            "does and --compat public always", parse=str, label="Blending", client=ClientLimits(),
            choices={"feather": "Soft", "box": "Hard, as upstream"},
        ),
    )  # fmt: skip
    gate: bool = field(
        default=False,
        metadata=spec(
            "fade the generated mouth out where it would smear: over a hand, or beside a turned head",
            cli_hint="needs a generator that knows the face", client=ClientLimits(),
        ),
    )  # fmt: skip
    align: bool = field(
        default=False,
        metadata=spec(
            "rotate tilted heads upright for the generator",
            cli_hint="needs --detector mtcnn or the landmarks of 2DFAN4",
        ),
    )
    silence: str = field(
        default="ease",
        metadata=spec(
            "ease: close the mouth while nobody speaks; off: use the generator's output as it is",
            parse=str, label="While nobody speaks", client=ClientLimits(),
            choices={"ease": "Close the mouth", "off": "Generator output as it is"},
        ),
    )  # fmt: skip
    precision: str = field(
        default="auto",
        metadata=spec(
            "precision of the generator; auto: the fastest of the device, within a gray level of fp32",
            parse=str, choices={name: name for name in ("auto", "fp32", "bf16", "fp16")},
        ),
    )  # fmt: skip
    compat: str = field(
        default="none",
        metadata=spec(
            "public: reproduce upstream's quirks, see docs/differences.md",
            parse=str, choices={"none": "none", "public": "public"}, client=ClientLimits(),
        ),
    )  # fmt: skip

    @property
    def generator_precision(self) -> str:
        """Precision of the generator: fp32 with compat=public, as upstream computes, unless set otherwise."""
        return "fp32" if self.compat == "public" and self.precision == "auto" else self.precision

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.wav2lip_batch_size < 1:
            raise InputError(f"--wav2lip_batch_size={self.wav2lip_batch_size}: must be at least 1")
        if self.align and self.box is not None:
            raise InputError("--align: cannot be combined with --box, which has no landmarks; remove one of them")
        flags = [*self.selection_flags, *(["--align"] if self.align else [])]
        if self.compat == "public" and flags:
            raise InputError(f"{flags[0]}: cannot be combined with --compat public; remove one of them")


DEFAULTS = LipSyncOptions()
