"""Implementations of face_detection.interface.Detector: S3FD, MTCNN and OpenCV's Haar cascade."""
