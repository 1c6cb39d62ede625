"""Face detection, landmarks and tracking. Of the project, it imports `models` only."""

from face_detection.build import build_detector
from face_detection.interface import Detector, DetectorError, Face

__all__ = ["Detector", "DetectorError", "Face", "build_detector"]
