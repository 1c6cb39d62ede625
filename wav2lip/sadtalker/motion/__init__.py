"""Motion of a talking head: expression, head pose, blinks and 3D keypoints of every frame."""
