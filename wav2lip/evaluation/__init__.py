"""Evaluation of generated videos: the paper's metrics and others, for any number of systems, beside the real videos."""
