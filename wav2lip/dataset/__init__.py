"""The data set on disk: clip folders, file lists, and packs of clips."""
