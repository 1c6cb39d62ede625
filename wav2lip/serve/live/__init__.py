"""Live speech over a WebSocket."""
