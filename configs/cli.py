"""Start an entry point from its config and the command line's overrides; report bad input with exit code 2."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from configs.schema import SCHEMAS
from configs.type_checks import parse
from configs.upstream_flags import translate_flags
from wav2lip import cli
from wav2lip.errors import InputError

logger = logging.getLogger(__name__)


def run(task: Callable[[DictConfig], int | None], config: str) -> None:
    """Compose configs/CONFIG.yaml with the command line's overrides, check it and run `task` on it.

    Hydra's flags --help, --cfg job and --config-dir work, upstream's flags are translated to keys; --multirun is
    rejected, since a run ends the process.
    Exit codes: the task's (None is 0); 2 with a sentence for a bad override, a missing value or bad input.
    """
    if {"--multirun", "-m"} & set(sys.argv[1:]):
        cli.exit_with_error("--multirun: must not be used here; start the command once for each setting")
    _translate_command_line(config)
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra raises its errors instead of printing them

    def check_and_run(cfg: DictConfig) -> int | None:
        parse(cfg, SCHEMAS[config])
        return task(cfg)

    # cli.run exits by SystemExit; otherwise Hydra would print lines of its own about the failed job.
    main = hydra.main(version_base="1.3", config_path="pkg://configs", config_name=config)(
        lambda cfg: cli.run(lambda: check_and_run(cfg))
    )
    try:
        main()
    except (HydraException, OmegaConfBaseException) as error:
        reason = " ".join(str(error).split()).split(" To append to your")[0].rstrip(".")  # "+key" would be ignored
        cli.exit_with_error(f"config: {reason}; see --help for all keys")


def _translate_command_line(config: str) -> None:
    """Replace upstream's flags in sys.argv, from which Hydra reads the overrides, and log that once per run."""
    try:
        sys.argv[1:], line = translate_flags(sys.argv[1:], config)
    except InputError as error:
        cli.exit_with_error(error)
        return
    if line is not None and os.environ.get("RANK", "0") == "0":
        cli.configure_logging()
        logger.info("%s", line)
