"""Start an entry point from its config: overrides on the command line, one sentence and exit code 2 for bad input."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from wav2lip import errors


def run(task: Callable[[DictConfig], int | None], config: str) -> None:
    """Compose configs/CONFIG.yaml with the command line's overrides and run `task` on it.

    Hydra's flags --help, --cfg job and --config-dir work; --multirun is refused, since a run ends the process.
    Exit codes: the task's (None is 0); 2 with a sentence for a bad override, a missing value or bad input.
    """
    if {"--multirun", "-m"} & set(sys.argv[1:]):
        errors.exit_with("--multirun is not for this command; start it once for each setting")
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # its errors come up to us instead of being printed there

    def checked(cfg: DictConfig) -> int | None:
        missing = sorted(OmegaConf.missing_keys(cfg))
        if missing:
            raise errors.InputError(f"{missing[0]} is not given; add {missing[0]}=... to the command")
        return task(cfg)

    # Left by SystemExit from inside, or Hydra would add lines of its own about the failed job.
    main = hydra.main(version_base="1.3", config_path="pkg://configs", config_name=config)(
        lambda cfg: errors.run(lambda: checked(cfg))
    )
    try:
        main()
    except (HydraException, OmegaConfBaseException) as error:
        reason = " ".join(str(error).split()).split(" To append to your")[0].rstrip(".")  # "+key" would be ignored
        errors.exit_with(f"config: {reason}; see --help for the keys there are")
