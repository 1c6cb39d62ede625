"""Warnings about a data set that matter before training, each with a remedy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from statistics import median
from typing import Any

from preprocess.sync.decide import BOOTSTRAP, NOT_SPEAKING, format_offset
from wav2lip.execution.interface import FAULT, KILLED
from wav2lip.reporting.durations import format_duration

MIN_SECONDS = 600.0  # less is enough for a trial or for fine-tuning only
MIN_SCRATCH_SECONDS = 5 * 3600.0  # less rarely suffices for a sync expert trained from scratch
MAX_DROPPED_FRACTION = 0.2  # share of the time above which there is a warning
MAX_UNCERTAIN_FRACTION = 0.2  # share of the measured clips above which there is a warning
MIN_OFFSET_FRACTION = 0.05  # share of the measured clips with one common offset
MIN_VALIDATION_SECONDS = 30.0  # less gives noisy scores
FACE_PIXELS = 96  # input size of the networks
MIN_FPS = 20  # a lower frame rate misses mouth shapes

REMEDIES = {  # key: the cause that dropped most
    "unreadable": "check these files in a player and copy or export them again",
    "not decoded": "check these files in a player and copy or export them again",
    "no audio track": "give versions of these videos with their audio",
    "no video track": "remove these files from the folder",
    "not at 25 fps": "write these clips again at 25 fps",
    "no face": "use videos that show a face throughout, or another detector",
    "too few faces": "use videos that show a face throughout, or another detector",
    "too little audio": "use videos whose audio is as long as their frames",
    "too short to measure sync": "use longer takes",
    "no agreement in the data set": "check that the audio belongs to these videos",
    "no sync found": "use recordings in which the visible person is the speaker",
    "out of sync by too much": "correct the delay of these videos before preprocessing",
    "not the speaker": "nothing to do, the clips of the speaker are kept",
    "small face": "use a higher resolution of the videos, or lower quality.min_face_pixels",
    "dark": "use brighter recordings, or lower quality.min_exposure",
    "overexposed": "use darker recordings, or raise quality.max_white_share",
    "blurred": "use recordings in focus, or lower quality.min_sharpness",
    "static video": "use recordings of a higher frame rate, or raise quality.max_static_share",
    "face often lost": "use videos that show one face throughout, or raise quality.max_filled_share",
    "head turned away": "use recordings from the front, or raise quality.max_head_turn",
    "silent": "cut parts without speech, or raise quality.max_silent_share",
    "clipped audio": "use recordings at a lower level, or raise quality.max_clipped_share",
    "duplicate": "nothing to do, one copy of each is kept",
    "gap before held-out clips": "add sources, or lower gap_seconds",
    "copy of a held-out clip": "nothing to do, the held-out copy is kept",
    KILLED: "run again with fewer workers",
    FAULT: "run again, and report the traceback",
}


def list_warnings(dataset: dict[str, Any]) -> list[str]:
    """Return the warnings at the head of the report, the most serious first.

    dataset: the content of dataset.json.
    """
    return [*_check_empty(dataset), *_check_sync(dataset), *_check_amount(dataset), *_check_dropped(dataset),
            *_check_variety(dataset), *_check_validation(dataset), *_check_images(dataset),
            *_check_failures(dataset)]  # fmt: skip


def _kept_clips(dataset: dict[str, Any]) -> list[dict[str, Any]]:
    return [clip for clip in dataset["clips"] if clip["status"] == "ok"]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _check_empty(dataset: dict[str, Any]) -> Iterator[str]:
    if dataset["totals"]["clips_kept"] == 0:
        largest = dataset["dropped"][0] if dataset["dropped"] else None
        cause = f': the stage {largest["stage"]} dropped most, because of "{largest["cause"]}"' if largest else ""
        yield f"No clip was kept{cause}. There is nothing to train on; the report gives the reason for each input."


def _check_sync(dataset: dict[str, Any]) -> Iterator[str]:
    sync = dataset["sync"]
    if sync is None:
        if dataset["clips"]:
            yield ("Sync was not checked. If lips and audio do not agree, training runs for days without learning: run "
                   "the sync stage first.")  # fmt: skip
        return
    if sync["agreement_found"] is None:
        start = "" if sync.get("agreement_probable") else "It is unknown whether lips and audio agree: "
        conclusion = f"{start}{sync['conclusion']}."
        yield f"{conclusion[0].upper()}{conclusion[1:]} {sync_remedy(sync)}"
        return
    if not sync["agreement_found"]:
        yield (f"No agreement between lips and audio was found. {sync['conclusion']} Watch some videos and check that "
               "the visible person is the speaker, before you spend time on training.")  # fmt: skip
        return
    yield from _check_offsets(dataset)


def sync_remedy(sync: dict[str, Any]) -> str:
    """Return how to measure sync better, given the "sync" of dataset.json."""
    if sync["expert"] != BOOTSTRAP:
        return "Add videos, or longer ones."
    return "Add videos, or measure with a SyncNet checkpoint (sync.expert=FILE, or --expert FILE of the doctor)."


def _check_offsets(dataset: dict[str, Any]) -> Iterator[str]:
    measured = [clip["sync"] for clip in dataset["clips"] if clip["sync"] and clip["cause"] != NOT_SPEAKING]
    offsets = Counter(clip["offset"] for clip in measured if clip["confident"] and clip["offset"])
    for offset, count in offsets.most_common(2):
        if count < MIN_OFFSET_FRACTION * len(measured):
            continue
        corrected = sum(clip["applied"] != 0 for clip in measured if clip["confident"] and clip["offset"] == offset)
        remedy = "corrected"
        if corrected < count:
            remedy = f"corrected in {corrected} of {_count(count, 'clip')}; run the sync stage to correct the others"
        yield f"In {count / len(measured):.0%} of your clips the audio is {format_offset(offset)}: {remedy}."
    uncertain = sum(not clip["confident"] for clip in measured)
    if uncertain > MAX_UNCERTAIN_FRACTION * len(measured):
        yield (f"{uncertain} of {_count(len(measured), 'clip')} were dropped because their sync is uncertain. Causes "
               "are voice-over, dubbing, music and listening faces; cut such parts out of the videos.")  # fmt: skip


def usable_seconds(dataset: dict[str, Any]) -> float:
    """Return the length of the kept clips; where only a sample was examined, the estimate for all data."""
    totals = dataset["totals"]
    return float(totals.get("seconds_estimated", totals["seconds_kept"]))


def _check_amount(dataset: dict[str, Any]) -> Iterator[str]:
    seconds = usable_seconds(dataset)
    if 0 < seconds < MIN_SECONDS:
        yield (f"Less than {MIN_SECONDS / 60:.0f} minutes ({format_duration(seconds)}): enough for a trial or to "
               "fine-tune a checkpoint to one speaker, too little to train from scratch. Add videos, or start from a "
               "pretrained checkpoint.")  # fmt: skip
    elif MIN_SECONDS <= seconds < MIN_SCRATCH_SECONDS:
        yield (f"{format_duration(seconds)} of clips: good for fine-tuning. A sync expert trained from scratch needs "
               f"{MIN_SCRATCH_SECONDS / 3600:.0f} hours or more; start from a pretrained checkpoint, or add "
               "videos.")  # fmt: skip


def _check_dropped(dataset: dict[str, Any]) -> Iterator[str]:
    totals, dropped = dataset["totals"], dataset["dropped"]
    seconds = totals["seconds_in"] - totals["seconds_kept"]
    if not dropped or seconds <= MAX_DROPPED_FRACTION * totals["seconds_in"] or totals["clips_kept"] == 0:
        return
    largest = max(dropped, key=lambda entry: entry["seconds"])
    remedy = REMEDIES.get(largest["cause"], "the report gives the reason of each clip")
    yield (f"{format_duration(seconds)} of {format_duration(totals['seconds_in'])} were dropped, most "
           f'({format_duration(largest["seconds"])}) because of "{largest["cause"]}": {remedy}.')  # fmt: skip


def _check_variety(dataset: dict[str, Any]) -> Iterator[str]:
    clips = _kept_clips(dataset)
    sources = {clip["source"] for clip in clips}
    folders = {clip["clip"].split("/")[0] for clip in clips}
    if len(sources) == 1:
        yield ("All clips are from one video: the model will fit that speaker in that room. Add other speakers if it "
               "is to work for anyone.")  # fmt: skip
    elif len(folders) == 1:
        yield (f"All clips are in one folder ({next(iter(folders))}). If it contains one speaker, the model will fit "
               "that speaker; if not, give each speaker a folder, so that whole speakers can be held out.")  # fmt: skip


def _check_validation(dataset: dict[str, Any]) -> Iterator[str]:
    splits, num_clips = dataset["splits"], dataset["totals"]["clips_kept"]
    if not num_clips:
        return
    if sum(split["clips"] for split in splits.values()) > num_clips:
        yield ("No clip is held out: validation uses training clips, so its scores say nothing about other videos. Add "
               "a second video.")  # fmt: skip
    elif splits["val"]["clips"] == 0:
        yield "The validation list is empty: overfitting cannot be detected. Raise val, or add a video."
    elif splits["val"]["seconds"] < MIN_VALIDATION_SECONDS:
        yield (f"The validation set lasts only {format_duration(splits['val']['seconds'])}: its scores will be noisy. "
               "Raise val, or add videos.")  # fmt: skip


def _check_images(dataset: dict[str, Any]) -> Iterator[str]:
    sizes = [clip["quality"]["face_pixels"] for clip in _kept_clips(dataset) if clip["quality"]]
    if sizes and median(sizes) < FACE_PIXELS:
        yield (f"Half of your faces are smaller than {FACE_PIXELS} pixels (median {median(sizes):.0f}): results will "
               "be soft. Use the highest resolution of the videos that is available.")  # fmt: skip
    slow = [entry for entry in dataset["inputs"] if entry["status"] == "ok" and 0 < (entry["fps"] or 0) < MIN_FPS]
    if slow:
        yield (f"{_count(len(slow), 'video')} below {MIN_FPS} fps: frames are repeated and mouth shapes are missing. "
               "Remove such videos if you have others.")  # fmt: skip


def _check_failures(dataset: dict[str, Any]) -> Iterator[str]:
    failed = sum(entry["status"] == "failed" for entry in dataset["inputs"])
    if failed:
        yield f"{_count(failed, 'input')} failed through a fault of the program or the machine: run again to retry."
    copies = sum(clip["cause"] == "duplicate" for clip in dataset["clips"])
    if copies:
        yield (f"{_count(copies, 'duplicate')} of other clips, re-encoded or cut differently: only the one with the "
               "largest face was kept.")  # fmt: skip
