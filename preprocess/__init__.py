"""Videos to a data set of clips: python -m preprocess videos=DIR out=DIR."""
