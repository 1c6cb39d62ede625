"""Write sample data, with no download: python -m wav2lip.synthetic

Videos of synthetic talking heads in the layout of upstream's data (main/00000/00000.mp4), and a video, a photo and
speech of speakers who are not in them.
"""

from __future__ import annotations

import argparse
import logging
from itertools import chain
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from wav2lip.cli import run
from wav2lip.errors import InputError
from wav2lip.synthetic import Speaker, encode_video, render, speak, write_speech, write_videos

logger = logging.getLogger(__name__)

VIDEOS, TEMPLATE = "main", "{speaker:05d}/{video:05d}.mp4"
PERSON, PHOTO, SPEECH = "person.mp4", "photo.png", "speech.wav"
PERSON_SEED, SPEECH_SEED = 1000, 2000  # added to the seed of the videos, so that these speakers are in none of them


def build_parser() -> argparse.ArgumentParser:
    """Build the command line parser."""
    parser = argparse.ArgumentParser(
        prog="python -m wav2lip.synthetic", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("samples"), help="output folder")
    parser.add_argument("--videos", type=int, default=10, metavar="N", help="videos, two of each speaker")
    parser.add_argument("--seconds", type=float, default=7.0, help="duration of each file")
    parser.add_argument("--seed", type=int, default=0, help="seed of the speakers")
    return parser


def write_samples(out: Path, count: int, seconds: float, seed: int = 0) -> None:
    """Write out/main/00000/00000.mp4 and so on, out/person.mp4, out/photo.png and out/speech.wav.

    count: number of videos in out/main. Raises: InputError for a count or a duration that is too small.
    """
    if seconds < 1:
        raise InputError(f"--seconds={seconds:g}: must be at least 1")
    with tqdm(total=count, unit="video") as bar:
        write_videos(out / VIDEOS, count, seconds, seed, lambda done, _: bar.update(done - bar.n), TEMPLATE)
    person, voice = (Speaker.from_seed(seed + offset) for offset in (PERSON_SEED, SPEECH_SEED))
    speech = speak(seconds, person, seed + PERSON_SEED)
    frames = render(speech, person, seed + PERSON_SEED)
    photo = next(frames)
    encode_video(out / PERSON, chain([photo], frames), speech.wav)
    Image.fromarray(photo).save(out / PHOTO)
    write_speech(out / SPEECH, seconds, voice, seed + SPEECH_SEED)
    logger.info("%s: %d videos of talking heads; %s, %s, %s beside it", out / VIDEOS, count, PERSON, PHOTO, SPEECH)
    logger.info("next: python -m preprocess videos=%s out=data", (out / VIDEOS).as_posix())


def main() -> None:
    """Parse the arguments and write the samples."""
    args = build_parser().parse_args()
    run(lambda: write_samples(args.out, args.videos, args.seconds, args.seed))


if __name__ == "__main__":
    main()
