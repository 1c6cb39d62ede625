"""Audio-video sync of a data set: measure, decide, correct."""
