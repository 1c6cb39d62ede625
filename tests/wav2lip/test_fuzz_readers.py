"""Readers of damaged files: a value or an InputError of one sentence, and never another exception."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.damage import BOUNDED, damaged
from wav2lip.checkpoints import load_checkpoint
from wav2lip.dataset.clip import read_info
from wav2lip.dataset.filelist import read_filelist
from wav2lip.dataset.packed import Pack
from wav2lip.dataset.shards import PackManifest, Shard, ShardWriter, encode_crop
from wav2lip.errors import InputError

LISTS = [b"speaker/00000\nspeaker/00001 NF\n", "\ufeffa ü/1\r\n/b\\2.mp4,x\n".encode()]
INFO = json.dumps({"source": "a.mp4", "start": 1.5, "frames": [1, 2], "sync": {"offset": 0}}).encode()


def read_or_refuse(read: Callable[[], object]) -> None:
    message = "read"
    try:
        read()
    except InputError as error:
        message = str(error)
    assert message and "\n" not in message


def checkpoint_bytes(legacy: bool) -> bytes:
    file = io.BytesIO()
    content = {"state_dict": {"a.weight": torch.zeros(2, 2)}, "global_step": 7, "optimizer": None}
    torch.save(content, file, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("damaged")


@BOUNDED
@given(content=damaged(LISTS))
def test_damaged_file_list_is_read_or_refused(folder, content):
    (folder / "train.txt").write_bytes(content)
    read_or_refuse(lambda: read_filelist(folder / "train.txt", folder))


@BOUNDED
@given(content=damaged([INFO]))
def test_damaged_clip_json_is_read_or_refused(folder, content):
    (folder / "clip.json").write_bytes(content)
    read_or_refuse(lambda: read_info(folder))


@BOUNDED
@given(content=damaged([checkpoint_bytes(legacy) for legacy in (False, True)]))
def test_damaged_checkpoint_is_read_or_refused(folder, content):
    (folder / "a.pth").write_bytes(content)
    read_or_refuse(lambda: load_checkpoint(folder / "a.pth"))


def write_pack(folder: Path) -> Path:
    """Write a pack of one clip with two frames."""
    with ShardWriter(folder / "000000", "jpeg") as writer:
        crops = [encode_crop(np.full((8, 8, 3), level, np.uint8), "jpeg") for level in (0, 200)]
        writer.add("a", "mark", np.array([0, 1]), crops, np.zeros((80, 4), np.float32))
    shard = Shard.open(folder / "000000", 8, "jpeg")
    PackManifest(8, "jpeg", {"000000": shard.checksum}, []).write(folder)
    return folder


PACK_FILES = ["pack.json", "000000/index.json"]


@BOUNDED
@given(data=st.data(), name=st.sampled_from(PACK_FILES))
def test_damaged_pack_is_read_or_refused(folder, data, name):
    shutil.rmtree(folder / "8", ignore_errors=True)
    pack = write_pack(folder / "8")
    (pack / name).write_bytes(data.draw(damaged([(pack / name).read_bytes()])))
    read_or_refuse(lambda: Pack.open(pack))
