"""Time and cost of runs, from their records."""
