"""Face tracks: detections associated over the frames of a video."""
