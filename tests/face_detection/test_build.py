"""A detector from its name, with and without weights. No test touches the net."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
import time

import pytest
import torch

import face_detection.weights as s3fd_files
from face_detection import DetectorError, build_detector
from face_detection.weights import LOCAL, cached_file, fetch
from tests.reference import weights


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "s3fd.pth"
    torch.save(weights("s3fd"), path)
    return path


@pytest.fixture
def unreachable(tmp_path, monkeypatch):
    """The address of S3FD's weights leads nowhere."""
    monkeypatch.setattr(s3fd_files, "URL", (tmp_path / "nowhere.pth").as_uri())


def note():
    """What a failed download leaves."""
    return cached_file().with_name(cached_file().name + ".failed")


@pytest.fixture
def server(tmp_path):
    """A file with its address, and its SHA-256."""
    file = tmp_path / "served.bin"
    file.write_bytes(b"weights" * 1000)
    return file.as_uri(), hashlib.sha256(file.read_bytes()).hexdigest()


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_auto_without_weights_is_mtcnn_with_exactly_one_line(no_weights, caplog):
    with caplog.at_level(logging.DEBUG):
        detector = build_detector("auto", download=False, batch_size=3)
    assert (detector.name, detector.portions.size) == ("mtcnn", 3)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert all(word in record.getMessage() for word in ("MTCNN", "S3FD", str(LOCAL), s3fd_files.URL))


def test_auto_without_weights_and_without_mtcnn_is_haar_with_exactly_one_line(no_weights, no_mtcnn, caplog):
    with caplog.at_level(logging.DEBUG):
        detector = build_detector("auto", download=False)
    assert detector.name == "haar"
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert all(word in record.getMessage() for word in ("Haar", "S3FD", str(LOCAL), "pip install", "mtcnn"))


def test_auto_with_weights_is_s3fd_with_exactly_one_line(no_weights, weights_file, caplog):
    with caplog.at_level(logging.DEBUG):
        assert build_detector("auto", weights=weights_file).name == "s3fd"
    (record,) = caplog.records
    assert record.levelno == logging.INFO and str(weights_file) in record.getMessage()


def test_auto_is_mtcnn_when_the_download_fails(no_weights, unreachable, caplog):
    assert build_detector("auto").name == "mtcnn"
    (line,) = warnings(caplog)
    assert "cannot be downloaded" in line
    assert not cached_file().exists()


def test_auto_does_not_try_a_failed_download_again_that_day_and_says_so(no_weights, unreachable, caplog):
    build_detector("auto")
    caplog.clear()
    with caplog.at_level(logging.DEBUG):
        assert build_detector("auto").name == "mtcnn"
    (record,) = caplog.records  # no "downloading"
    assert "lately" in record.getMessage() and str(note()) in record.getMessage()


def test_auto_tries_a_failed_download_again_a_day_later(no_weights, unreachable, caplog):
    build_detector("auto")
    yesterday = time.time() - 25 * 3600
    os.utime(note(), (yesterday, yesterday))
    caplog.clear()
    build_detector("auto")
    assert "cannot be downloaded" in warnings(caplog)[0]


def test_s3fd_by_name_tries_a_failed_download_at_once(no_weights, unreachable, server, monkeypatch):
    build_detector("auto")
    url, digest = server
    monkeypatch.setattr(s3fd_files, "URL", url)
    monkeypatch.setattr(s3fd_files, "SHA256_START", digest)
    assert s3fd_files.s3fd_weights(None, download=True) == cached_file()
    assert not note().exists()


def test_s3fd_without_weights_names_the_remedy(no_weights):
    with pytest.raises(DetectorError, match="models/s3fd.pth"):
        build_detector("s3fd", download=False)


def test_mtcnn_by_name_warns_of_nothing(no_weights, caplog):
    assert build_detector("mtcnn").name == "mtcnn"
    assert not caplog.records


def test_mtcnn_by_name_without_its_package_names_the_remedy(no_mtcnn):
    with pytest.raises(DetectorError, match='pip install "mtcnn'):
        build_detector("mtcnn")


def test_haar_by_name_warns_of_nothing(no_weights, caplog):
    assert build_detector("haar").name == "haar"
    assert not caplog.records


def test_an_unknown_name_is_answered_with_the_choices():
    with pytest.raises(DetectorError, match="'dlib'.*auto, s3fd, mtcnn, haar"):
        build_detector("dlib")


def test_an_unknown_compat_is_answered_with_the_choices():
    with pytest.raises(DetectorError, match="none, public"):
        build_detector("haar", compat="old")


@pytest.mark.parametrize("name", ["auto", "s3fd"])
def test_a_named_file_that_is_missing_is_an_error_even_for_auto(no_weights, name):
    with pytest.raises(DetectorError, match="gone.pth"):
        build_detector(name, weights="gone.pth")


@pytest.mark.parametrize("name", ["auto", "s3fd"])
def test_a_named_file_is_used(no_weights, weights_file, name):
    detector = build_detector(name, weights=weights_file, compat="public", batch_size=3)
    assert detector.name == "s3fd"
    assert (detector.compat, detector.portions.size) == ("public", 3)


def test_weights_are_found_in_models_first_and_then_in_the_cache(no_weights, weights_file):
    cached_file().parent.mkdir(parents=True)
    cached_file().symlink_to(weights_file)
    assert build_detector("auto", download=False).name == "s3fd"
    LOCAL.parent.mkdir()
    LOCAL.write_text("not weights")
    with pytest.raises(DetectorError, match="models/s3fd.pth"):
        build_detector("auto", download=False)


@pytest.mark.parametrize("content", [b"", b"hello, this is text", bytes(range(256)) * 50, b"PK\x03\x04 cut"])
def test_a_corrupt_weights_file_is_named(tmp_path, content):
    file = tmp_path / "broken.pth"
    file.write_bytes(content)
    with pytest.raises(DetectorError, match="broken.pth"):
        build_detector("s3fd", weights=file)


def test_a_truncated_weights_file_is_named(tmp_path, weights_file):
    file = tmp_path / "half.pth"
    file.write_bytes(weights_file.read_bytes()[:1_000_000])
    with pytest.raises(DetectorError, match="half.pth"):
        build_detector("s3fd", weights=file)


@pytest.mark.parametrize("payload", [[1, 2], {"state": 1}, {"conv1_1.weight": torch.zeros(1)}])
def test_a_file_that_holds_something_else_is_named(tmp_path, payload):
    file = tmp_path / "other.pth"
    torch.save(payload, file)
    with pytest.raises(DetectorError, match="other.pth"):
        build_detector("s3fd", weights=file)


def test_a_download_is_put_in_place_whole(tmp_path, server):
    url, digest = server
    target = tmp_path / "cache" / "file.pth"
    fetch(url, target, digest[:10])
    assert hashlib.sha256(target.read_bytes()).hexdigest() == digest
    assert [p.name for p in target.parent.iterdir()] == ["file.pth"]


def test_a_download_of_another_file_is_refused_and_leaves_nothing(tmp_path, server):
    url, _ = server
    target = tmp_path / "cache" / "file.pth"
    with pytest.raises(DetectorError, match="SHA-256"):
        fetch(url, target, "619a316812")
    assert list(target.parent.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_a_detector_error(tmp_path, server):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(DetectorError, match="cannot be written"):
        fetch(server[0], tmp_path / "cache" / "file.pth", server[1])


def test_importing_the_package_does_not_load_torch():
    code = "import sys, face_detection; sys.exit('torch' in sys.modules or 'cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
