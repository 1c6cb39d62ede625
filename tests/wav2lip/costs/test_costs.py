"""Sums of time and cost, worked by hand."""

import json

import pytest

from wav2lip.costs.__main__ import costs
from wav2lip.errors import InputError

USAGE = {
    "wall_s": 360.0, "cpu_s": 300.0, "peak_rss_mib": 500.0, "device": "cpu", "host_class": "small", "attempt": 1,
    "lost_wall_s": 0.0, "cpus": 2, "memory_gib": 8, "gpus": 0, "day": "2026-11-01",
}  # fmt: skip
PRICES = """
date: 2026-10-01
currency: EUR
classes:
  small: {cpu_hour: 0.10, gib_hour: 0.01, gpu_hour: 0}
  gpu: {cpu_hour: 0.10, gib_hour: 0.01, gpu_hour: 2.0}
"""


def write_records(folder, *records):
    folder.mkdir(exist_ok=True)
    lines = []
    for key, status, usage, data in records:
        line = {"key": key, "fingerprint": "f", "status": status, "cause": "", "reason": "", "data": data}
        lines.append(json.dumps(line | {"usage": USAGE | usage}))
    (folder / "lipsync.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "prices.yaml").write_text(PRICES)
    return folder


@pytest.fixture
def folder(tmp_path):
    """Three jobs: a success, a success after a failure and a lost attempt on a GPU, and one without a price."""
    ann = {"face": "a.mp4", "audio": "a.wav", "parameters": "--fit trim", "user": "ann", "engine": "wav2lip"}
    bob = ann | {"face": "b.mp4", "user": "bob", "has_cached_faces": True}
    return write_records(
        tmp_path / "records",
        ("a.mp4", "ok", {}, ann),
        ("b.mp4", "failed", {"wall_s": 1800.0, "cpu_s": None, "peak_rss_mib": None}, bob | {"has_cached_faces": None}),
        ("b.mp4", "ok", {"host_class": "gpu", "gpus": 0.5, "attempt": 2, "lost_wall_s": 1440.0}, bob),
        ("c.mp4", "ok", {"host_class": "elsewhere", "day": "2026-11-02"}, ann | {"face": "c.mp4"}),
    )


def rows(folder, capsys, *flags):
    costs([str(folder), "--prices", str(folder / "prices.yaml"), "--csv", *flags])
    return [line.split(",") for line in capsys.readouterr().out.splitlines()]


def test_cost_of_jobs(folder, capsys):
    head, *jobs = rows(folder, capsys)
    values = [dict(zip(head, job, strict=True)) for job in jobs]
    # 0.1 h x (2 CPUs x 0.10 + 8 GiB x 0.01) = 0.1 x 0.28
    assert values[0] == {
        "image/video": "a.mp4", "audio": "a.wav", "parameters": "--fit trim", "time": "360.0", "cpu": "300.0",
        "cost": "0.0280", "machine": "small", "vcpu": "2", "memory": "8.0 GiB", "peak": "500 MiB", "cached": "0/1",
        "retries": "0",
    }  # fmt: skip
    # failed: 0.5 h x 0.28 = 0.14; then (360 + 1440) s = 0.5 h x (0.28 + 0.5 GPU x 2.0) = 0.64
    assert (values[1]["cost"], values[1]["time"], values[1]["cpu"]) == ("0.7800", "3600.0", "300.0")
    assert (values[1]["machine"], values[1]["cached"], values[1]["retries"]) == ("gpu+small", "1/2", "2")
    assert values[2]["cost"] == "-"


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("user", [["ann", "2", "720.0", "-"], ["bob", "1", "3600.0", "0.7800"]]),
        ("engine", [["wav2lip", "3", "4320.0", "-"]]),
        ("day", [["2026-11-01", "2", "3960.0", "0.8080"], ["2026-11-02", "1", "360.0", "-"]]),
    ],
)
def test_cost_of_groups(folder, capsys, by, expected):
    head, *groups = rows(folder, capsys, "--by", by)
    assert head[:5] == [by, "jobs", "time", "cpu", "cost"]
    assert [[group[0], group[1], group[2], group[4]] for group in groups] == expected


def test_segments_count_for_their_job(tmp_path, capsys):
    folder = write_records(tmp_path / "r", *((key, "ok", {}, {}) for key in ("a.mp4", "a.mp4#0", "a.mp4#1")))
    _, job = rows(folder, capsys)
    assert (job[0], job[5], job[-1]) == ("a.mp4", "0.0840", "0")  # three times 0.028


def test_names_with_a_number_sign_are_other_jobs(tmp_path, capsys):
    keys = ("take#1.mp4", "take#1.mp4#0", "take#2.mp4", "take#2.mp4#10")
    folder = write_records(tmp_path / "r", *((key, "ok", {}, {}) for key in keys))
    _, *jobs = rows(folder, capsys)
    assert [(job[0], job[5]) for job in jobs] == [("take#1.mp4", "0.0560"), ("take#2.mp4", "0.0560")]


def test_table_has_total_and_date_of_prices(folder, capsys):
    costs([str(folder), "--prices", str(folder / "prices.yaml")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[4].split()[:5] == ["total", "-", "-", "4320.0", "900.0"]
    assert lines[-1].startswith("Prices in EUR of 2026-10-01.")
    costs([str(folder), "--csv"])
    assert [line.split(",")[5] for line in capsys.readouterr().out.splitlines()] == ["cost", "-", "-", "-"]  # never 0


@pytest.mark.parametrize(
    ("content", "message"),
    [("classes: [", "cannot be read as YAML"), ("date: 1", "must have date, currency and classes"),
     ("date: 1\ncurrency: EUR\nclasses: {a: {cpu: 1}}", "must have date"),
     ("date: 1\ncurrency: EUR\nclasses: {a: {cpu_hour: -1}}", "classes.a: prices must be numbers from 0")],
)  # fmt: skip
def test_unusable_prices_are_error(folder, content, message):
    (folder / "prices.yaml").write_text(content)
    with pytest.raises(InputError, match=message):
        costs([str(folder), "--prices", str(folder / "prices.yaml")])


def test_records_without_usage_are_error(tmp_path):
    with pytest.raises(InputError, match="no record with a time"):
        costs([str(tmp_path)])
