"""Content of dataset.json without the data set."""

from __future__ import annotations

from preprocess.report.advice import list_warnings


def make_clip_entry(source: str, number: int, **changes) -> dict:
    quality = {"face_pixels": 150.0 + number % 9, "sharpness": 0.5, "exposure": 0.5, "head_turn": None,
               "filled_share": 0.01, "silent_share": 0.1, "clipped_share": 0.0, "static_share": 0.0}  # fmt: skip
    sync = {
        "offset": 2,
        "confidence": 6.0 + number % 5,
        "applied": 2,
        "confident": True,
        "curve": [0.1] * 17 + [0.9] * 14,
    }
    name, start = f"{source[:-4]}_{number:06}", 5.0 * number
    clip = {"clip": name, "source": source, "start": start, "seconds": 5.0, "frames": 125, "split": "train",
            "status": "ok", "stage": "", "cause": "", "reason": "", "sync": sync, "quality": quality}  # fmt: skip
    return clip | changes


def make_dataset(sources: list[str], clips_per_source: int) -> dict:
    """Return sources whose last clip has uncertain sync and whose last second has no face."""
    rejection = {
        "status": "rejected",
        "stage": "sync",
        "cause": "no sync found",
        "reason": "confidence 1.2, below 4",
        "split": None,
    }
    clips, inputs = [], []
    for source in sources:
        entries = [make_clip_entry(source, number) for number in range(clips_per_source - 1)] + [
            make_clip_entry(source, clips_per_source - 1, **rejection)
        ]
        entries[-1]["sync"] = entries[-1]["sync"] | {"confident": False, "applied": 0}
        seconds = 5.0 * clips_per_source + 1
        no_face = {
            "from": seconds - 1,
            "to": seconds,
            "stage": "faces",
            "cause": "no face",
            "reason": "none",
        }
        inputs.append({"source": source, "status": "ok", "cause": "", "reason": "", "problems": [], "seconds": seconds,
                       "seconds_kept": seconds - 6, "fps": 29.97, "width": 640, "height": 480,
                       "clips": [clip["clip"] for clip in entries], "dropped": [no_face]})  # fmt: skip
        clips += entries
    kept_clips = [clip for clip in clips if clip["status"] == "ok"]
    count = len(sources)
    dataset = {
        "version": 3, "tool": "wav2lip 0", "settings": {"seed": 0, "quality": {"min_sharpness": 0.42}},
        "totals": {"inputs": count, "inputs_used": count, "seconds_in": sum(i["seconds"] for i in inputs),
                   "seconds_kept": 5.0 * len(kept_clips), "clips": len(clips), "clips_kept": len(kept_clips)},
        "dropped": [{"stage": "sync", "cause": "no sync found", "seconds": 5.0 * count, "inputs": count},
                 {"stage": "faces", "cause": "no face", "seconds": 1.0 * count, "inputs": count}],
        "splits": {"train": {"clips": len(kept_clips) - 1, "seconds": 5.0 * (len(kept_clips) - 1)},
                   "val": {"clips": 1, "seconds": 5.0}, "test": {"clips": 0, "seconds": 0.0}},
        "sync": {"expert": "bootstrap", "conclusion": "They agree.", "agreement_found": True,
                 "confident": len(kept_clips), "corrected": len(kept_clips), "uncertain": count, "rounds": []},
        "warnings": [], "inputs": inputs, "clips": clips,
    }  # fmt: skip
    return dataset | {"warnings": list_warnings(dataset)}
