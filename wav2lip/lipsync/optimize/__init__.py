"""Inference optimizations of the generator; all but quantization compute the same as the plain network."""
