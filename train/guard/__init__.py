"""Trouble in a training: what it looks like, and what is done about it."""
