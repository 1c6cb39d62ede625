"""Exclusive access of a server to its data folder."""

from __future__ import annotations

import pytest

from wav2lip.errors import InputError
from wav2lip.serve.service import exclusive_access
from wav2lip.serve.settings import Settings


def test_two_servers_cannot_share_a_data_folder(tmp_path):
    settings = Settings(data=tmp_path / "data")
    with exclusive_access(settings), pytest.raises(InputError, match="another server"), exclusive_access(settings):
        pass
    with exclusive_access(settings):
        pass


def test_data_folder_that_is_a_file_is_rejected(tmp_path):
    (tmp_path / "data").write_text("x")
    with pytest.raises(InputError, match="--data="), exclusive_access(Settings(data=tmp_path / "data")):
        pass
