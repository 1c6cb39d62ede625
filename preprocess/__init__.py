"""Turn videos into a data set of clips, ready for training."""

import wav2lip  # noqa: F401 - sets torch's environment before a stage imports torch
