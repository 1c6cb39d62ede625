"""Sync of lips and audio, measured with SyncNet v2 (LSE) and with a SyncNet of this project or of upstream.

The scores of the two experts are not comparable and have different names.
"""

from __future__ import annotations

from dataclasses import replace

from wav2lip.evaluation.metrics.base import HIGHER, LOWER, ZERO, Metric, Scores
from wav2lip.sync.offset_curve import OffsetCurve

IMPERCEPTIBLE_FRAMES = 1  # offset that viewers do not notice

CURVE = "the curve is the mean over windows of the distance of lips and audio, with the audio shifted by -15..15 frames"
PRAJWAL = "Prajwal et al. 2020, A lip sync expert is all you need"
SYNCNET = "SyncNet v2 of Chung and Zisserman 2016 (--syncnet_v2)"
EXPERT = "a SyncNet of this project or of upstream (--expert)"
OFFSET = "shift of the curve's minimum: frames by which the audio lags the video"
FRACTION = "fraction of videos whose offset is at most 1 frame either way"

LSE_METRICS = (
    Metric("lse_d", LOWER, "0 to about 20; real LRS2 videos about 6.3", "", f"minimum of the curve; {CURVE}", PRAJWAL,
           SYNCNET),
    Metric("lse_c", HIGHER, "0 to about 15; real LRS2 videos about 8.2", "", "median of that curve minus its minimum",
           PRAJWAL, SYNCNET),
    Metric("lse_offset", ZERO, "-15 to 15", "frames", f"{OFFSET}; upstream's script prints it with the opposite sign",
           "Chung and Zisserman 2016, Out of time", SYNCNET),
    Metric("lse_within_1", HIGHER, "0 to 1", "", FRACTION, "this project", SYNCNET),
)  # fmt: skip
EXPERT_METRICS = (
    Metric("expert_distance", LOWER, "0 to 1", "",
           f"minimum of the curve; {CURVE}; distance: 1 - cosine; windows with complete audio at every shift",
           "as LSE-D, with the expert", EXPERT),
    Metric("expert_confidence", HIGHER, "0 to 1", "", "median of that curve minus its minimum",
           "as LSE-C, with the expert", EXPERT),
    Metric("expert_offset", ZERO, "-15 to 15", "frames", OFFSET, "as LSE's offset, with the expert", EXPERT),
    Metric("expert_within_1", HIGHER, "0 to 1", "", FRACTION, "this project", EXPERT),
    Metric("expert_agreement", HIGHER, "0 to 1", "", "mean cosine of lips and audio without a shift", "this project",
           EXPERT),
)  # fmt: skip
SECOND_EXPERT = "another SyncNet, that the generator was not trained against (--second_expert)"
SECOND_METRICS = tuple(
    replace(metric, name=metric.name.replace("expert", "second"), needs=SECOND_EXPERT) for metric in EXPERT_METRICS
)
NO_SECOND_EXPERT = "--second_expert is not set; train another expert with another seed and width"
NO_SYNCNET_V2 = "--syncnet_v2 is not set; download syncnet_v2.model of the repository syncnet_python"
NO_EXPERT = "--expert is not set; use a checkpoint of train.syncnet or upstream's lipsync_expert.pth"


def score_curve(curve: OffsetCurve, metrics: tuple[Metric, ...]) -> Scores:
    """Return distance, confidence, offset, whether that is imperceptible, and the agreement, named as these metrics.

    LSE_METRICS have no agreement, because the distances of SyncNet v2 have no upper bound.
    """
    within = float(abs(curve.offset) <= IMPERCEPTIBLE_FRAMES)
    values = (curve.min_distance, curve.confidence, float(curve.offset), within, curve.agreement)
    return Scores({metric.name: value for metric, value in zip(metrics, values, strict=False)})
