"""Renderer of SadTalker: the generator, optimized for inference."""

from wav2lip.sadtalker.renderer.torch_renderer import TorchRenderer

__all__ = ["TorchRenderer"]
