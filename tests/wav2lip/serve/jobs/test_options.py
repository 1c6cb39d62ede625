"""Job options: limits for clients and the round trip through the database."""

from __future__ import annotations

import json

import pytest

from wav2lip.engine.option_parsing import client_values
from wav2lip.errors import InputError
from wav2lip.serve.jobs.options import parse_job_options


@pytest.mark.parametrize(
    "options",
    [{"fps": float("nan")}, {"fps": 61}, {"face_at": (0.0, float("inf"), 1.0)}, {"start": float("nan")}, {"end": -1.0},
     {"resize_factor": 0}, {"resize_factor": 65}, {"pads": (0, 1 << 20, 0, 0)}, {"blend": "x"}, {"faces": "0" * 21}],
    ids=str,
)  # fmt: skip
def test_parse_job_options_rejects_out_of_range_values(options):
    with pytest.raises(InputError):
        parse_job_options(options)


def test_options_survive_json():
    values = {"pads": (1, 2, 3, 4), "box": (1, 2, 3, 4), "fit": "freeze", "face_at": None, "end": 2.0}
    options = parse_job_options(values)
    assert parse_job_options(json.loads(json.dumps(client_values(options)))) == options
