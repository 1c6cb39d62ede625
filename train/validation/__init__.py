"""Validation: scores of the expert and of the generator on validation windows."""
