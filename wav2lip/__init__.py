"""The library: audio, media, clips, checkpoints and lip-sync inference. It never imports Hydra or the trainers."""

__version__ = "0.1.0"
