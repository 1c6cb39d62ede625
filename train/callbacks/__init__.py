"""Callbacks of the training loop: logging, validation output, and the health of a run."""
