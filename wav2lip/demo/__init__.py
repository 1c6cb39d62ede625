"""Demo: preprocessing, training and lip-sync on synthetic data in minutes."""
