"""Time spans in their two largest units."""

import pytest

from wav2lip.reporting.durations import format_duration


@pytest.mark.parametrize(("seconds", "text"), [
    (0, "0.0 s"), (9.04, "9.0 s"), (9.96, "10.0 s"), (50.2, "50 s"), (59.6, "1 min"), (725, "12 min 5 s"),
    (3900, "1 h 5 min"), (12_000, "3 h 20 min"), (36_000, "10 h"), (86_400, "1 d"), (198_000, "2 d 7 h"),
])  # fmt: skip
def test_duration_has_its_two_largest_units(seconds, text):
    assert format_duration(seconds) == text
