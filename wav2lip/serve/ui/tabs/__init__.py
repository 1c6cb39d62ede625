"""Tabs of the page: their components and event handlers."""
