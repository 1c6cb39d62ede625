"""Web page and HTTP API for lip-sync jobs with a persistent queue."""
