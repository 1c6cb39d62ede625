"""Jobs: queue, workers, models, uploads and retention."""
