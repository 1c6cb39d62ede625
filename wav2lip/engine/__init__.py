"""Shared parts of talking-head engines: inputs, timeline, face location and selection, frame stream, result."""
