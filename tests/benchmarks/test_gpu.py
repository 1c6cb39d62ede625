"""The GPU benchmark in its CPU form: it measures what it lists, resumes, and stops when its time is up."""

import json

import pytest

from benchmarks.gpu import GROUPS, Table, build_parser, format_table, run_group, run_groups


def parse(tmp_path, *flags):
    return build_parser().parse_args(["--out", str(tmp_path), "--device", "cpu", "--thin", *flags])


def test_losses_of_equal_devices_agree_and_a_second_run_keeps_the_rows(tmp_path):
    assert run_group(parse(tmp_path, "--group", "agreement")) == 0
    rows = Table(tmp_path).rows()
    assert [row["difference"] for row in rows.values()] == [pytest.approx(0, abs=1e-6)] * 3
    kept = {**rows, "expert: loss of CPU and device": {"cpu": 1.0}}
    (tmp_path / "gpu.json").write_text(json.dumps(kept))
    assert run_group(parse(tmp_path, "--group", "agreement")) == 0
    assert Table(tmp_path).rows() == kept


def test_groups_after_the_time_limit_are_named(tmp_path, capsys):
    assert run_groups(parse(tmp_path, "--minutes", "0")) == 0
    assert list(Table(tmp_path).rows()) == [f"group {name}" for name in GROUPS]
    assert capsys.readouterr().out.count("run again to continue") == len(GROUPS)


def test_a_second_run_replaces_the_notes_of_skipped_groups(tmp_path, monkeypatch, capsys):
    run_groups(parse(tmp_path, "--minutes", "0"))
    monkeypatch.setattr(
        "benchmarks.gpu.run_child", lambda args, group, seconds: "broken" if group == "memory" else None
    )
    assert run_groups(parse(tmp_path)) == 1
    assert Table(tmp_path).rows() == {"group memory": {"failed": "broken"}}


def test_format_table_has_a_row_for_each_measurement():
    text = format_table({"a": {"frames/s": 12.3456, "name": "x"}, "b": {"failed": "one\ntwo"}})
    assert text.splitlines()[2:] == ["| a | frames/s 12.35; name x |", "| b | failed one two |"]


@pytest.mark.slow
def test_cpu_form_measures_every_group(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHDYNAMO_DISABLE", "1")  # compilation takes minutes; tests/train/test_devices.py tests it
    assert run_groups(parse(tmp_path, "--minutes", "10")) == 0
    rows = Table(tmp_path).rows()
    assert not [name for name, row in rows.items() if {"failed", "skipped"} & row.keys()]
    assert rows["resume of a CPU checkpoint"]["complete"] and rows["torchrun with one process"]["complete"]
    assert rows["halving of a batch that exceeds the memory"]["faces at once, in the end"] == 16
    assert rows["train.wav2lip with its loader"]["samples/s"] > 0
