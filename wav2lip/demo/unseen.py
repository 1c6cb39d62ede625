"""A face and a voice that no network has seen, and what that face does for the words, which the renderer knows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from wav2lip.audio import load_wav
from wav2lip.audio.windows import FPS
from wav2lip.dataset.clip import ClipWriter, read_info
from wav2lip.dataset.filelist import read_filelist
from wav2lip.faces.boxes import Box, Pads, pad_boxes, round_boxes
from wav2lip.faces.crops import crop_box
from wav2lip.media import VideoWriter, read_frames
from wav2lip.synthetic import Speaker, encode_video, render, speak, speaker_of, write_wav
from wav2lip.synthetic.voice import OPENING

UNSEEN_SPEAKER_SEED = 1000  # added to the seed of the videos, so that no training video has this voice


@dataclass(frozen=True)
class UnseenTalk:
    """A validation speaker who says words of another voice."""

    face: Path  # video of the speaker with words of their own
    speech: Path  # unseen audio, as long as the video
    truth: Path  # the same head with lips that follow the unseen audio
    untouched: Path  # the same head with its own lips and the unseen audio
    boxes: list[Box | None]  # face box of each frame, as the data set cut it
    opening: np.ndarray  # (N,) float32 in [0, 1]: true opening of the mouth for the unseen audio
    opening_of_face: np.ndarray  # (N,) float32: the same for the words in `face`


def render_unseen_talk(out: Path, videos: Path, data: Path, seed: int) -> UnseenTalk:
    """Render the first validation speaker of a data set of synthetic videos with unseen words.

    seed: of the videos. out: folder for unseen_speech.wav, truth.mp4 and untouched.mp4.
    """
    clip_id = read_filelist(data / "filelists" / "val.txt", data)[0]
    info = read_info(data / clip_id)
    assert info is not None  # preprocessing writes one for every clip
    face, frames = videos / info["source"], int(info["frames"])
    speaker_index, video_index = int(face.parent.name.removeprefix("speaker_")), int(face.stem)
    speaker, video_seed = speaker_of(seed, speaker_index, video_index)
    voice_seed = seed + UNSEEN_SPEAKER_SEED
    seconds = frames / FPS
    speech, own_speech = speak(seconds, Speaker.from_seed(voice_seed), voice_seed), speak(seconds, speaker, video_seed)
    out.mkdir(parents=True, exist_ok=True)
    wav, truth, untouched = out / "unseen_speech.wav", out / "truth.mp4", out / "untouched.mp4"
    write_wav(wav, speech.wav)
    encode_video(truth, render(speech, speaker, video_seed), speech.wav)
    with VideoWriter(untouched, FPS, wav) as writer:
        for frame in islice(read_frames(face, FPS), frames):
            writer.write(frame)
    size = info["height"], info["width"]
    boxes = np.array([box or [np.nan] * 4 for box in info["boxes"]], np.float32)
    rounded = round_boxes(pad_boxes(boxes, Pads(**info["framing"]["pads"]), *size), *size)
    return UnseenTalk(
        face, wav, truth, untouched, rounded, speech.articulation[:, OPENING], own_speech.articulation[:, OPENING]
    )


def read_faces(video: Path, boxes: list[Box | None]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield number and face of each frame that has a box, (h, w, 3) uint8 RGB."""
    for number, (frame, box) in enumerate(zip(read_frames(video, FPS), boxes, strict=False)):
        if box is not None:
            yield number, crop_box(frame, box)


def write_clip(root: Path, name: str, video: Path, talk: UnseenTalk) -> Path:
    """Cut a video with the boxes of the face's own clip, so that all videos of a head have equal crops.

    Returns: the clip folder.
    """
    with ClipWriter(root, name) as clip:
        for number, face in read_faces(video, talk.boxes):
            clip.write_frame(number, face)
        clip.write_audio([load_wav(talk.speech)])
    return root / name
