"""Fixtures of the page: media, a run, a server in this process, and a browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("gradio", reason="pip install 'wav2lip-toolkit[web]'")

from PIL import Image

from models import Wav2Lip
from tests.helpers.media import tone, write_video, write_wav
from tests.helpers.restoration import build_compact, save_network
from tests.helpers.serve import server_thread
from tests.helpers.talking_head import install_tiny_sadtalker
from tests.helpers.training_runs import write_run_log
from wav2lip.checkpoints import Checkpoint, save_checkpoint
from wav2lip.serve.app import create_app
from wav2lip.serve.settings import Settings

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
VIEWPORTS = {"desktop": (1280, 900), "phone": (390, 844)}
TIMEOUT_MS = 90_000
BROWSER_FLAGS = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Add the text of the page to the report of a failed test."""
    report = yield
    tab = item.funcargs.get("page")
    if tab is not None and not tab.is_closed() and report.when == "call" and report.failed:
        report.sections.append(("page", tab.inner_text("body")))
    return report


@pytest.fixture(scope="session")
def inputs(tmp_path_factory, portrait) -> Path:
    """Folder with a generator and a network for enhancement, a photo, one of two people, audio, and a mute video."""
    folder = tmp_path_factory.mktemp("inputs")
    torch.manual_seed(0)
    save_checkpoint(folder / "thin.pth", Checkpoint(Wav2Lip(width=0.125).state_dict()))
    Image.fromarray(portrait).save(folder / "photo.png")
    Image.fromarray(np.hstack([portrait, portrait])).save(folder / "pair.png")
    write_wav(folder / "audio.wav", tone(0.4))
    write_wav(folder / "longer.wav", tone(0.6))
    write_video(folder / "mute.mp4", [portrait] * 2)
    save_network(folder / "compact.pth", build_compact())
    return folder


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> Path:
    """Folder with one run two levels down."""
    root = tmp_path_factory.mktemp("runs")
    write_run_log(root / "speakers" / "expert")
    return root


@pytest.fixture(scope="module")
def url(tmp_path_factory, inputs, runs) -> Iterator[str]:
    """URL of a server that runs in a thread of this process and detects faces with the Haar cascade."""
    data = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        checkpoints = install_tiny_sadtalker(patch, inputs / "checkpoints")
        app = create_app(
            Settings(
                {"thin": inputs / "thin.pth"}, data=data, device="cpu", detector="haar", runs=runs,
                sadtalker=checkpoints, enhancers={"compact": inputs / "compact.pth"},
            )
        )  # fmt: skip
    environment = dict(os.environ)
    with server_thread(app) as url:
        yield url
    os.environ.clear()
    os.environ.update(environment)


@pytest.fixture(scope="module")
def browser_flags() -> list[str]:
    """Flags of the browser besides BROWSER_FLAGS."""
    return []


@pytest.fixture(scope="module")
def browser(browser_flags) -> Iterator:
    sync_api = pytest.importorskip("playwright.sync_api")
    executable = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if executable is None:
        pytest.skip(f"no browser on the PATH ({', '.join(BROWSERS)})")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=[*BROWSER_FLAGS, *browser_flags])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, url, request) -> Iterator:
    """The page in a viewport; console errors and requests to other hosts fail the test."""
    width, height = VIEWPORTS[getattr(request, "param", "desktop")]
    context = browser.new_context(viewport={"width": width, "height": height})
    tab = context.new_page()
    errors, foreign_urls = [], []
    tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    own = (url, "data:", "blob:")
    tab.on("request", lambda request: None if request.url.startswith(own) else foreign_urls.append(request.url))
    tab.set_default_timeout(TIMEOUT_MS)
    tab.goto(url)
    yield tab
    context.close()
    assert errors == []
    assert foreign_urls == []
