"""python -m tests.preprocess.stub_run VIDEOS OUT: preprocessing slow enough to be killed in the middle."""

import sys
from pathlib import Path

from preprocess.ingest import find_videos
from preprocess.pipeline import run
from tests.preprocess.stubs import StubDetector
from tests.preprocess.test_pipeline import killable

if __name__ == "__main__":
    videos, out = sys.argv[1:]
    run(find_videos(videos), killable(Path(out), StubDetector(seconds=0.02), workers=2))
