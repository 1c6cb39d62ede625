"""Inference optimizations of the generator; each computes the same as the plain network, which tests check."""
