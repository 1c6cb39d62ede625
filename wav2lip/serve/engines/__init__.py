"""Engines that run the jobs of the server."""
