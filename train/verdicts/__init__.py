"""Whether a training learns, in plain words, and what to do if it does not."""
