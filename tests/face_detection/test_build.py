"""build_detector and its weights; no test uses the network."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
import time

import pytest
import torch

import face_detection.weights as s3fd_weights
from face_detection import DetectorError, build_detector
from face_detection.weights import LOCAL_PATH, UPSTREAM_PATH, cache_path, download_file
from tests.helpers.goldens import weights


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "s3fd.pth"
    torch.save(weights("s3fd"), path)
    return path


@pytest.fixture
def unreachable(tmp_path, monkeypatch):
    """The URL of S3FD's weights does not exist."""
    monkeypatch.setattr(s3fd_weights, "URL", (tmp_path / "nowhere.pth").as_uri())


def failure_marker():
    """Path of the marker of a failed download."""
    return cache_path().with_name(cache_path().name + ".failed")


@pytest.fixture
def server(tmp_path):
    """URL and SHA-256 of a file."""
    file = tmp_path / "served.bin"
    file.write_bytes(b"weights" * 1000)
    return file.as_uri(), hashlib.sha256(file.read_bytes()).hexdigest()


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_auto_falls_back_to_mtcnn_with_one_warning(no_weights, caplog):
    with caplog.at_level(logging.DEBUG):
        detector = build_detector("auto", download=False, batch_size=3)
    assert (detector.name, detector.batcher.size) == ("mtcnn", 3)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert all(text in record.getMessage() for text in ("MTCNN", "S3FD", str(LOCAL_PATH), s3fd_weights.URL))


def test_auto_falls_back_to_haar_with_one_warning(no_weights, no_mtcnn, caplog):
    with caplog.at_level(logging.DEBUG):
        detector = build_detector("auto", download=False)
    assert detector.name == "haar"
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert all(text in record.getMessage() for text in ("Haar", "S3FD", str(LOCAL_PATH), "pip install", "mtcnn"))


def test_auto_with_weights_logs_s3fd(no_weights, weights_file, caplog):
    with caplog.at_level(logging.DEBUG):
        assert build_detector("auto", weights=weights_file).name == "s3fd"
    (record,) = caplog.records
    assert record.levelno == logging.INFO and str(weights_file) in record.getMessage()


def test_auto_falls_back_to_mtcnn_if_download_fails(no_weights, unreachable, caplog):
    assert build_detector("auto").name == "mtcnn"
    (line,) = warnings(caplog)
    assert "download failed" in line
    assert not cache_path().exists()


def test_auto_does_not_retry_download_within_a_day(no_weights, unreachable, caplog):
    build_detector("auto")
    caplog.clear()
    with caplog.at_level(logging.DEBUG):
        assert build_detector("auto").name == "mtcnn"
    (record,) = caplog.records  # no "downloading"
    assert "recently" in record.getMessage() and str(failure_marker()) in record.getMessage()


def test_auto_retries_download_after_a_day(no_weights, unreachable, caplog):
    build_detector("auto")
    yesterday = time.time() - 25 * 3600
    os.utime(failure_marker(), (yesterday, yesterday))
    caplog.clear()
    build_detector("auto")
    assert "download failed" in warnings(caplog)[0]


def test_s3fd_retries_download_immediately(no_weights, unreachable, server, monkeypatch):
    build_detector("auto")
    url, digest = server
    monkeypatch.setattr(s3fd_weights, "URL", url)
    monkeypatch.setattr(s3fd_weights, "SHA256_PREFIX", digest)
    assert s3fd_weights.find_s3fd_weights(None, download=True) == cache_path()
    assert not failure_marker().exists()


def test_s3fd_without_weights_names_remedy(no_weights):
    with pytest.raises(DetectorError, match="models/s3fd.pth"):
        build_detector("s3fd", download=False)


def test_mtcnn_by_name_logs_nothing(no_weights, caplog):
    assert build_detector("mtcnn").name == "mtcnn"
    assert not caplog.records


def test_mtcnn_without_package_names_remedy(no_mtcnn):
    with pytest.raises(DetectorError, match='pip install "mtcnn'):
        build_detector("mtcnn")


def test_haar_by_name_logs_nothing(no_weights, caplog):
    assert build_detector("haar").name == "haar"
    assert not caplog.records


def test_unknown_detector_lists_choices():
    with pytest.raises(DetectorError, match="dlib.*auto, s3fd, mtcnn, haar"):
        build_detector("dlib")


def test_unknown_compat_lists_choices():
    with pytest.raises(DetectorError, match="none, public"):
        build_detector("haar", compat="old")


@pytest.mark.parametrize("name", ["auto", "s3fd"])
def test_missing_weights_path_is_an_error_for_auto_too(no_weights, name):
    with pytest.raises(DetectorError, match="gone.pth"):
        build_detector(name, weights="gone.pth")


@pytest.mark.parametrize("name", ["auto", "s3fd"])
def test_weights_path_is_used(no_weights, weights_file, name):
    detector = build_detector(name, weights=weights_file, compat="public", batch_size=3)
    assert detector.name == "s3fd"
    assert (detector.compat, detector.batcher.size) == ("public", 3)


def test_local_weights_precede_cached_weights(no_weights, weights_file):
    cache_path().parent.mkdir(parents=True)
    cache_path().symlink_to(weights_file)
    assert build_detector("auto", download=False).name == "s3fd"
    for path in (UPSTREAM_PATH, LOCAL_PATH):  # each precedes the one before
        path.parent.mkdir(parents=True)
        path.write_text("not weights")
        with pytest.raises(DetectorError, match=path.as_posix()):
            build_detector("auto", download=False)


def test_weights_at_upstreams_place_are_found(no_weights, weights_file):
    assert UPSTREAM_PATH.as_posix() == "face_detection/detection/sfd/s3fd.pth"
    UPSTREAM_PATH.parent.mkdir(parents=True)
    UPSTREAM_PATH.symlink_to(weights_file)
    assert build_detector("auto", download=False).name == "s3fd"


@pytest.mark.parametrize("content", [b"", b"hello, this is text", bytes(range(256)) * 50, b"PK\x03\x04 cut"])
def test_corrupt_weights_error_names_file(tmp_path, content):
    file = tmp_path / "broken.pth"
    file.write_bytes(content)
    with pytest.raises(DetectorError, match="broken.pth"):
        build_detector("s3fd", weights=file)


def test_truncated_weights_error_names_file(tmp_path, weights_file):
    file = tmp_path / "half.pth"
    file.write_bytes(weights_file.read_bytes()[:1_000_000])
    with pytest.raises(DetectorError, match="half.pth"):
        build_detector("s3fd", weights=file)


@pytest.mark.parametrize("payload", [[1, 2], {"state": 1}, {"conv1_1.weight": torch.zeros(1)}])
def test_other_content_error_names_file(tmp_path, payload):
    file = tmp_path / "other.pth"
    torch.save(payload, file)
    with pytest.raises(DetectorError, match="other.pth"):
        build_detector("s3fd", weights=file)


def test_download_is_atomic(tmp_path, server):
    url, digest = server
    target = tmp_path / "cache" / "file.pth"
    download_file(url, target, digest[:10])
    assert hashlib.sha256(target.read_bytes()).hexdigest() == digest
    assert [p.name for p in target.parent.iterdir()] == ["file.pth"]


def test_download_with_wrong_checksum_leaves_no_file(tmp_path, server):
    url, _ = server
    target = tmp_path / "cache" / "file.pth"
    with pytest.raises(DetectorError, match="SHA-256"):
        download_file(url, target, "619a316812")
    assert list(target.parent.iterdir()) == []


def test_unwritable_cache_is_a_detector_error(tmp_path, server):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(DetectorError, match="not writable"):
        download_file(server[0], tmp_path / "cache" / "file.pth", server[1])


def test_package_import_does_not_load_torch():
    code = "import sys, face_detection; sys.exit('torch' in sys.modules or 'cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
