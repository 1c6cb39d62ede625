"""What held-out windows say of a network, and when that is reason to stop."""
