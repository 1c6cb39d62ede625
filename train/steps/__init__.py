"""Training steps: losses of a batch, their gradients, and scores of validation batches. See train.loop.Step."""
