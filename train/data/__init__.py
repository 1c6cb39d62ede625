"""What is trained on: samples drawn from clips, read from wherever they lie, fed to the step in batches."""
