"""Stages of preprocessing, one module each."""
