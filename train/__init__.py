"""The three trainers: `syncnet`, `wav2lip` and `wav2lip_gan`, over one loop."""

import wav2lip  # noqa: F401 - sets torch's environment before a trainer imports torch
