"""Lip-sync many videos with one model in memory; a record for each job."""
