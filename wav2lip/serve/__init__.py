"""A web page and an HTTP API that lip-sync for others, with a queue that outlives the process."""
