"""Face detection: pictures in, faces out. Imports no other part of the project."""

from face_detection.build import build_detector
from face_detection.interface import Detector, DetectorError, Face

__all__ = ["Detector", "DetectorError", "Face", "build_detector"]
