"""What a person should know about a data set before training on it, in plain words, and what to do about each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from statistics import median
from typing import Any

from preprocess.sync_verdicts import NOT_SPEAKING

LITTLE = 600.0  # seconds: below, a model can only be tried out or fine-tuned
SOME = 5 * 3600.0  # seconds: below, an expert trained from nothing rarely learns
LOST_SHARE = 0.2  # of the time, from which on losses are worth a sentence
UNSURE_SHARE = 0.2  # of the clips that were judged
OFFSET_SHARE = 0.05
VALIDATION = 30.0  # seconds: below, the scores jump about
FACE_PIXELS = 96  # side that the networks see
SLOW_FPS = 20  # frames a second: below, mouth shapes are missing

REMEDIES = {  # by the stage that took the time
    "probe": "check these files in a player and export them again",
    "shots": "cuts cost little; longer takes keep more",
    "faces": "use videos in which one face is seen throughout, or another detector",
    "segments": "lower the shortest length of a segment, or use longer takes",
    "crops": "check these files in a player and export them again",
    "sync": "use recordings in which the person seen is the person heard",
    "quality": "look at the clips below and lift the limit that you find too strict",
    "splits": "add sources, or make the gap between train and validation shorter",
}


def warnings(dataset: dict[str, Any]) -> list[str]:
    """Sentences for the head of the report, the gravest first.

    dataset: the content of dataset.json.
    """
    return [*_nothing(dataset), *_sync(dataset), *_amount(dataset), *_losses(dataset), *_variety(dataset),
            *_validation(dataset), *_pictures(dataset), *_faults(dataset)]  # fmt: skip


def duration(seconds: float) -> str:
    """A time in the unit that reads best: "9.0 s", "12 minutes", "2.1 hours"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.3g} minutes" if seconds < 3600 else f"{seconds / 3600:.1f} hours"


def _kept(dataset: dict[str, Any]) -> list[dict[str, Any]]:
    return [clip for clip in dataset["clips"] if clip["fate"] == "ok"]


def _nothing(dataset: dict[str, Any]) -> Iterator[str]:
    if dataset["totals"]["clips_kept"] == 0:
        most = dataset["lost"][0] if dataset["lost"] else None
        why = f': the stage "{most["stage"]}" took most, because of "{most["cause"]}"' if most else ""
        yield f"No clip was kept{why}. There is nothing to train on; the tables below have the reason for each input."


def _sync(dataset: dict[str, Any]) -> Iterator[str]:
    sync, judged = (
        dataset["sync"],
        [clip["sync"] for clip in dataset["clips"] if clip["sync"] and clip["cause"] != NOT_SPEAKING],
    )
    if sync is None:
        if dataset["clips"]:
            yield ("Nobody has checked whether lips and sound agree. If they do not, training goes on for days without "
                   "learning: run the sync stage first.")  # fmt: skip
        return
    if sync["agreement_found"] is None:
        yield (f"Nobody knows whether lips and sound agree: {sync['verdict']}. Add videos, or name an expert in "
               "sync.expert.")  # fmt: skip
        return
    if not sync["agreement_found"]:
        yield (f"No agreement between lips and sound was found. {sync['verdict']} Check by eye and ear that the people "
               "seen are the people heard, before spending time on training.")  # fmt: skip
        return
    moved = Counter(clip["offset"] for clip in judged if clip["sure"] and clip["offset"])
    for offset, count in moved.most_common(2):
        if count < OFFSET_SHARE * len(judged):
            continue
        frames = f"{abs(offset)} frame{'s' if abs(offset) > 1 else ''} {'late' if offset > 0 else 'early'}"
        done = sum(clip["applied"] != 0 for clip in judged if clip["sure"] and clip["offset"] == offset)
        fate = "corrected" if done == count else f"corrected in {done} of {count} clips; run the sync stage on the rest"
        yield f"In {count / len(judged):.0%} of your clips the sound is {frames}: {fate}."
    unsure = sum(not clip["sure"] for clip in judged)
    if unsure > UNSURE_SHARE * len(judged):
        yield (f"For {unsure} of {len(judged)} clips it is unsure whether lips and sound agree: set aside. Voice-over, "
               "dubbing, music and faces that listen do this; cut such parts out of the videos.")  # fmt: skip


def _amount(dataset: dict[str, Any]) -> Iterator[str]:
    kept = dataset["totals"]["seconds_kept"]
    if 0 < kept < LITTLE:
        yield (
            f"Less than {LITTLE / 60:.0f} minutes ({duration(kept)}): enough to try the chain or to fine-tune a "
            "checkpoint to one speaker, too little to train from nothing. Add videos, or start from a released one."
        )
    elif LITTLE <= kept < SOME:
        yield (f"{duration(kept).capitalize()} of clips: good for fine-tuning. An expert trained from nothing wants "
               f"{SOME / 3600:.0f} hours or more; start from a released checkpoint, or add videos.")  # fmt: skip


def _losses(dataset: dict[str, Any]) -> Iterator[str]:
    totals, lost = dataset["totals"], dataset["lost"]
    gone = totals["seconds_in"] - totals["seconds_kept"]
    if not lost or gone <= LOST_SHARE * totals["seconds_in"] or totals["clips_kept"] == 0:
        return
    most = max(lost, key=lambda entry: entry["seconds"])
    remedy = REMEDIES.get(most["stage"], "the tables below have the reasons")
    yield (f"{duration(gone)} of {duration(totals['seconds_in'])} were lost, most ({duration(most['seconds'])}) "
           f'because of "{most["cause"]}": {remedy}.')  # fmt: skip


def _variety(dataset: dict[str, Any]) -> Iterator[str]:
    kept = _kept(dataset)
    sources = {clip["source"] for clip in kept}
    folders = {clip["clip"].split("/")[0] for clip in kept}
    if len(sources) == 1:
        yield ("One video only: expect a model for that speaker in that room. Add other speakers if it is to work for "
               "anybody.")  # fmt: skip
    elif len(folders) == 1:
        yield (f"All clips are in one folder ({next(iter(folders))}). If that is one speaker only, expect a model for "
               "that speaker; if not, give each speaker a folder, so that whole speakers can be held out.")  # fmt: skip


def _validation(dataset: dict[str, Any]) -> Iterator[str]:
    splits, kept = dataset["splits"], dataset["totals"]["clips_kept"]
    if not kept:
        return
    if sum(split["clips"] for split in splits.values()) > kept:
        yield ("Nothing is held out: validation is on clips that are trained on, so its scores say nothing about other "
               "videos. Add a second video.")  # fmt: skip
    elif splits["val"]["clips"] == 0:
        yield "No clip is in the validation list: training cannot tell when it overfits. Raise val, or add a video."
    elif splits["val"]["seconds"] < VALIDATION:
        yield (f"Validation rests on {duration(splits['val']['seconds'])}: its scores will jump about. Raise val, or "
               "add videos.")  # fmt: skip


def _pictures(dataset: dict[str, Any]) -> Iterator[str]:
    sizes = [clip["quality"]["face_pixels"] for clip in _kept(dataset) if clip["quality"]]
    if sizes and median(sizes) < FACE_PIXELS:
        yield (f"Half of your faces are smaller than {FACE_PIXELS} pixels (median {median(sizes):.0f}): results will "
               "be soft. Use the largest version of the videos that there is.")  # fmt: skip
    slow = [entry for entry in dataset["inputs"] if entry["fate"] == "ok" and 0 < (entry["fps"] or 0) < SLOW_FPS]
    if slow:
        videos = "1 video is" if len(slow) == 1 else f"{len(slow)} videos are"
        yield (f"{videos} below {SLOW_FPS} frames a second: mouth shapes are repeated in them. Leave such "
               "videos out if there are others.")  # fmt: skip


def _faults(dataset: dict[str, Any]) -> Iterator[str]:
    failed = sum(entry["fate"] == "failed" for entry in dataset["inputs"])
    if failed:
        inputs = "1 input" if failed == 1 else f"{failed} inputs"
        yield f"{inputs} failed through a fault of the program or the machine: run again to try them again."
    copies = sum(clip["cause"] == "duplicate" for clip in dataset["clips"])
    if copies:
        yield (f"{copies} clip{'s' if copies > 1 else ''} show{'' if copies > 1 else 's'} a recording that is there "
               "already, encoded or cut another way: the one with the largest face was kept.")  # fmt: skip
