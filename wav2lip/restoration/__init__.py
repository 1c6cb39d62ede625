"""Restoration of finished frames by GFPGAN, RestoreFormer, Real-ESRGAN and similar networks, for any engine."""
