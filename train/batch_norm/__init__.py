"""Batch-norm: synchronized between processes, and the statistics of averaged weights."""
