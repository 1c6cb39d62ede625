"""Prepared faces: everything an engine computes from a face input, in one file."""
