"""Training data: samples drawn from clips, read from folders, packs or memory, and loaded in batches."""
