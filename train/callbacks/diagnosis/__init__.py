"""Diagnosis of a run: whether it learns, the likely cause if not, and what to do next."""
