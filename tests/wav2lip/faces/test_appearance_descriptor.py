"""Similarity of appearances: the same person in other light and recordings, and other people."""

from __future__ import annotations

import itertools

import numpy as np

from face_detection.detectors.haar import Haar
from wav2lip.engine.identity_matching import Track
from wav2lip.faces.appearance_descriptor import SIMILARITY_THRESHOLD, describe_appearance
from wav2lip.faces.boxes import round_boxes
from wav2lip.faces.crops import crop_box
from wav2lip.media import read_frames


def test_appearance_is_robust_to_light(portrait):
    face, darker_face = portrait[40:190, 70:180], (portrait[44:186, 66:184] * 0.8).astype(np.uint8)
    upside_down = np.ascontiguousarray(portrait[::-1])[40:190, 70:180]
    assert (
        describe_appearance(face) @ describe_appearance(darker_face)
        > describe_appearance(face) @ describe_appearance(upside_down) + 0.2
    )


def describe_frames(video, frames=(0, 40, 80)):
    """Return descriptors of the largest face of some frames."""
    images = [frame for number, frame in enumerate(itertools.islice(read_frames(video, 25), 81)) if number in frames]
    faces = [max(detections, key=lambda face: face.area).box for detections in Haar().detect(images)]
    boxes = round_boxes(np.array(faces), *images[0].shape[:2])
    return [describe_appearance(crop_box(image, box)) for image, box in zip(images, boxes, strict=True)]


def test_appearance_matches_person_across_recordings(shared_media):
    reference, same_person, *other_people = (
        Track(describe_frames(shared_media / name))
        for name in ("speaker_a_512_25fps.mp4", "speaker_c_590_25fps.mp4", "speaker_b_700_vfr.mp4",
                     "speaker_d_524_25fps.mp4")
    )  # fmt: skip
    assert reference.similarity(same_person.descriptors) > SIMILARITY_THRESHOLD + 0.05
    assert all(person.similarity(reference.descriptors) < SIMILARITY_THRESHOLD - 0.05 for person in other_people)
    assert other_people[0].similarity(other_people[1].descriptors) < SIMILARITY_THRESHOLD - 0.05
