"""The photo of a talking head: face, landmarks, crop and alignment."""
