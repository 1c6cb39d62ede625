"""Selection of clips: quality, duplicates, splits, and the outcome of each input."""
