"""Catalog, verification and download of weights, with an HTTP server on this machine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from models.sadtalker import build
from wav2lip.errors import InputError
from wav2lip.weights import __main__ as command
from wav2lip.weights.catalog import BY_NAME, CATALOG
from wav2lip.weights.download import download
from wav2lip.weights.verification import verify_file

AUDIO2EXP, MAPPING = "auido2exp_00300-model.pth", "mapping_00229-model.pth.tar"  # 11 MB and 41 MB


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two files of SadTalker as its releases have them, with a training state."""
    folder = tmp_path_factory.mktemp("weights")
    torch.save({"model": build("audio2exp").state_dict(), "epoch": 300}, folder / AUDIO2EXP)
    torch.save({"mapping": build("mapping").state_dict(), "epoch": 229}, folder / MAPPING)
    return folder


class FlakyHandler(BaseHTTPRequestHandler):
    """Sends a part of what is missing, then closes the connection; supports ranges."""

    content = b""
    part = 0.5
    requests: list[str | None]

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.requests.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        rest = self.content[start:]
        if wanted and not rest:
            self.send_error(416)
            return
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest if len(rest) < 1000 else rest[: int(self.part * len(rest))])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, type[FlakyHandler]]]:
    handler = type("Handler", (FlakyHandler,), {"requests": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http_server:
        threading.Thread(target=http_server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http_server.server_port}", handler
        http_server.shutdown()


def test_sizes_follow_from_published_counts():
    # elements of parameters and buffers of the published networks, 4 bytes each
    assert BY_NAME[AUDIO2EXP].weight_bytes == pytest.approx(4 * (2_849_664 + 4_429), rel=1e-5)
    assert BY_NAME["SadTalker_V0.0.2_256.safetensors"].weight_bytes == pytest.approx(724.9e6, rel=1e-3)
    assert len(CATALOG) == len(BY_NAME)


def test_list_names_every_file_and_its_terms():
    lines = list(command.describe_files(None))
    assert all(file.name in lines and f"  terms: {file.terms}" in lines for file in CATALOG)
    assert "mapping: first.0.weight [1024, 70, 7]" in command.describe_keys(MAPPING)


def test_verify_accepts_complete_files(folder):
    assert list(command.verify(folder, None)) == [f"ok: {MAPPING}", f"ok: {AUDIO2EXP}"]


def break_file(folder: Path, target: Path, how: str) -> None:
    content = (folder / AUDIO2EXP).read_bytes()
    if how == "truncated":
        target.write_bytes(content[: len(content) // 2])
    elif how == "page":
        target.write_bytes(b"\n<!DOCTYPE html><html>quota exceeded</html>")
    elif how == "pointer":
        target.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    elif how == "swapped":
        target.write_bytes((folder / MAPPING).read_bytes())
    elif how == "layer":
        state = build("audio2exp").state_dict() | {"mapping1.bias": torch.zeros(3)}
        torch.save({"model": state}, target)
    elif how == "empty":
        torch.save({"model": {}}, target)
    else:
        save_file({"x": torch.zeros(2)}, target)


@pytest.mark.parametrize(("how", "reason"), [
    ("truncated", "is cut off"),
    ("page", "is a web page"),
    ("pointer", "is a Git LFS pointer"),
    ("swapped", f"has the content of {MAPPING}"),
    ("layer", r"mapping1.bias of shape \[3\] instead of \[64\]"),
    ("empty", "contains no network audio2exp"),
    ("safetensors", "contains no network audio2exp"),
])  # fmt: skip
def test_verify_explains_bad_files_in_one_sentence(folder, tmp_path, how, reason):
    target = tmp_path / AUDIO2EXP
    break_file(folder, target, how)
    with pytest.raises(InputError, match=reason) as error:
        verify_file(target, BY_NAME[AUDIO2EXP])
    assert "\n" not in str(error.value)


def test_safetensors_of_renderer_is_read_by_prefix(tmp_path):
    path = tmp_path / "SadTalker_V0.0.2_256.safetensors"
    file = BY_NAME[path.name]
    names = [content.network for content in file.contents]
    state = {
        f"{name}.{key}": torch.empty(value.shape, dtype=value.dtype)
        for name in names
        for key, value in build(name).state_dict().items()
        if name == "audio2exp"
    }
    save_file(state, path)
    with pytest.raises(InputError, match="contains no network kp_extractor"):
        verify_file(path, file)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="not a complete safetensors file"):
        verify_file(path, file)


def test_fetch_continues_after_lost_connections(folder, tmp_path, server):
    url, handler = server
    handler.content = (folder / AUDIO2EXP).read_bytes()
    (tmp_path / f"{AUDIO2EXP}.partial").write_bytes(handler.content[:1_000_000])  # of an earlier command
    command.fetch(tmp_path, [AUDIO2EXP], None, url)
    assert handler.requests[0] == "bytes=1000000-"
    assert len(handler.requests) > 5
    assert (tmp_path / AUDIO2EXP).read_bytes() == handler.content
    assert [path.name for path in tmp_path.iterdir()] == [AUDIO2EXP]
    requests = len(handler.requests)
    command.fetch(tmp_path, [AUDIO2EXP], None, url)  # complete: nothing is requested
    assert len(handler.requests) == requests


def test_fetch_keeps_what_it_has_if_the_connection_brings_nothing(folder, tmp_path, server):
    url, handler = server
    handler.content, handler.part = (folder / AUDIO2EXP).read_bytes(), 0
    with pytest.raises(InputError, match="breaks off again and again"):
        command.fetch(tmp_path, [AUDIO2EXP], None, url)
    assert len(handler.requests) == 5


def test_fetch_rejects_wrong_content(tmp_path, server):
    url, handler = server
    handler.content = b"<html>not found</html>"
    with pytest.raises(InputError, match="is a web page"):
        command.fetch(tmp_path, [AUDIO2EXP], None, url)
    assert list(tmp_path.iterdir()) == []


def test_fetch_reports_unreachable_server(tmp_path):
    with pytest.raises(InputError, match="download failed"):
        download("http://127.0.0.1:9/none", tmp_path / "none", lambda path: None)


def test_files_without_direct_link_name_their_page(tmp_path):
    with pytest.raises(InputError, match="get it from https://github.com/Rudrabha/Wav2Lip"):
        command.fetch(tmp_path, ["wav2lip_gan.pth"], None, None)
