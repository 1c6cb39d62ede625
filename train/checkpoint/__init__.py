"""Checkpoints: run state, averaged weights, saving and resuming."""
