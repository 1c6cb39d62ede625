"""Facial landmark networks."""
