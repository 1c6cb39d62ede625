"""Audio-video sync: experts, offset curve, LSE metrics."""
