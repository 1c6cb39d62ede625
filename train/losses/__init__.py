"""Losses as pure functions of tensors, and the weights of their sum."""
