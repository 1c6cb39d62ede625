"""API keys, client identity and login."""
