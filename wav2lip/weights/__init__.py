"""Weights of both engines: which files there are, whether they are complete, and where to get them."""
