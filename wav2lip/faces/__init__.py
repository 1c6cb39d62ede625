"""Face crops, alignment and network tensors."""
