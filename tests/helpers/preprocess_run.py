"""python -m tests.helpers.preprocess_run VIDEOS OUT [I/N]: a run slow enough to be killed halfway."""

import sys
from pathlib import Path

from preprocess.ingest import find_videos
from preprocess.pipeline import run
from tests.helpers.preprocess import StubDetector, make_chunked_job, run_shard

if __name__ == "__main__":
    videos, out, *shard = sys.argv[1:]
    job = make_chunked_job(Path(out), StubDetector(delay_seconds=0.02), workers=2)
    if shard:
        run_shard(videos, job, shard[0])
    else:
        run(find_videos(videos), job)
