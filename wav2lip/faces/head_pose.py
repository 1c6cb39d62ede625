"""Angles of a head from its five landmarks."""

from __future__ import annotations

import cv2
import numpy as np

# Eyes, nose tip and mouth corners of an average adult in millimeters, from the nose tip: right in the image, down,
# towards the scene.
HEAD_POINTS = np.array([[-32, -38, 27], [32, -38, 27], [0, 0, 0], [-26, 31, 23], [26, 31, 23]], np.float64)
FOCAL_LENGTHS = 20.0  # focal length in sizes of the face: nearly parallel projection


def head_angles(landmarks: np.ndarray) -> tuple[float, float] | None:
    """Estimate how far a head is turned and nods, by the perspective of an average head (SQPnP, Terzakis 2020).

    landmarks: (5, 2), as in `Face`.
    Returns: absolute yaw and pitch in degrees, from 0 for a frontal face to 90; None if the points fit no head.
    """
    points = np.asarray(landmarks, np.float64)
    size = float(np.ptp(points, axis=0).max())
    if not np.isfinite(points).all() or size < 1:
        return None
    centered = (points - points.mean(axis=0)) / size
    camera = np.diag([FOCAL_LENGTHS, FOCAL_LENGTHS, 1.0])
    is_found, rotation, _ = cv2.solvePnP(HEAD_POINTS, centered, camera, None, flags=cv2.SOLVEPNP_SQPNP)
    if not is_found:
        return None
    forward = cv2.Rodrigues(rotation)[0][:, 2]  # direction in which the head looks, away from the camera if frontal
    yaw = np.degrees(np.arctan2(abs(forward[0]), abs(forward[2])))
    pitch = np.degrees(np.arcsin(min(1.0, abs(forward[1]))))
    return float(yaw), float(pitch)
